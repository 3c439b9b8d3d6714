/// What the launcher says about a failed run. A pure function.
#pragma once

#include <string>
#include <vector>

#include "launcher/report/failed_run.h"

namespace rondo::launcher {

/// Lines for stderr. The first is the verdict: "rank 1 (host H, pid P) killed by signal 9 (SIGKILL)"; then its cause as
/// far as it is known, what the rank said itself, its last lines, where it crashed, what the ranks were doing, the
/// ranks that ended because of it on one line, a hint, and the command that runs it again.
std::vector<std::string> failure_report(const FailedRun& run);

/// The ranks that did not end well because of the culprit.
std::vector<int> victims_of(const FailedRun& run);

}  // namespace rondo::launcher
