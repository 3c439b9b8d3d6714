/// Talks to the launcher of a run that still goes on, through the run's folder and a signal.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "rondo/comm/deadline.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

/// The process that writes events.jsonl of this folder, as the kernel knows it; nothing when it is gone.
std::optional<pid_t> launcher_of(const std::string& folder);

/// Asks it to write the flight records and waits until they are there. kTimeout, kPeerLost (it ended meanwhile),
/// kUnauthenticated (another user's).
comm::Status ask_for_flights(const std::string& folder, pid_t launcher, comm::Deadline deadline);

/// The state letter of /proc/PID/stat: 'T' is stopped; 0 when there is no such process.
char process_state(pid_t pid);

}  // namespace rondo::launcher
