/// Waits on the coordinator's host until the agents of all hosts are there.
#pragma once

#include <vector>

#include "launcher/agent/console.h"
#include "launcher/agent/event_log.h"
#include "launcher/agent/event_loop.h"
#include "launcher/agent/job_request.h"
#include "launcher/agent/signals.h"
#include "launcher/coordinator/rendezvous.h"
#include "launcher/coordinator/terminals.h"
#include "launcher/remote/attendance.h"

namespace rondo::launcher {

inline constexpr int kOwnHost = 0;  // Attendee::id of the coordinator's host; others have their Attendance's

struct Gathered {
  std::vector<Rendezvous::Member> members;  // empty: they did not come together
  int exit_code = 0;                        // then
};
/// Says on `console` for whom it waits. Agents that cannot take part are sent away with the reason; when time is over,
/// all are, and it says who is absent. Terminals are answered meanwhile.
comm::Result<Gathered> gather_hosts(const JobRequest& request, const std::string& own_host, Attendance& attendance,
                                    EventLoop& loop, Signals& signals, Console& console, EventLog& events,
                                    Terminals& terminals);

/// The message that sends an agent away.
control::CoordinatorSays finish_message(int exit_code, const std::string& cause);

}  // namespace rondo::launcher
