/// Why a rank failed, in words: the verdict, its cause, the evidence for it, and what to do. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/report/failed_run.h"

namespace rondo::launcher {

/// "killed by signal 9 (SIGKILL)", "exited with code 37", "did not answer".
std::string how_it_failed(const RankStory& rank);
/// More than how it ended: "out of memory: ...", "an exception: ...", "stopped (process state T) ...". Empty: nothing
/// more is known.
std::string cause_of(const RankStory& rank);
/// What speaks for it, a sentence each, the strongest first.
std::vector<std::string> evidence_of(const FailedRun& run);
/// What the user may do, if there is something better than to read the above.
std::optional<std::string> hint_for(const RankStory& rank);

}  // namespace rondo::launcher
