/// Which runs go on on this host, and which of them a user means.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launcher/control/run_door.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

/// Of this user, by run id; root sees everybody's. Asks nobody.
std::vector<RunDoor> live_runs();

/// What a run is named by: its id, the beginning of one, its launcher's pid, or nothing when there is only one run.
/// kInvalidArgument lists the live ones and names the nearest. Pure.
comm::Result<RunDoor> choose_run(const std::string& word, std::span<const RunDoor> runs);

/// choose_run() among live_runs(). Understands "latest" and a run's folder, too.
comm::Result<RunDoor> find_live_run(const std::string& word);

}  // namespace rondo::launcher
