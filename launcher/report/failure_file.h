/// failure.json of a run's folder: the failure report for programs. A pure function.
#pragma once

#include <string>

#include "launcher/report/failed_run.h"

namespace rondo::launcher {

/// One object: rank, host, pid, generation, exit_code, signal (numbers; null when it did not end so), cause,
/// evidence[], last_lines[], last_lines_of ("stderr", or "stdout" when that has none), backtrace[], ranks[] {rank,
/// host, pid, exit_code, signal, stopped, doing}, victims[] (ranks), hint (may be null), rerun.
std::string failure_json(const FailedRun& run);

}  // namespace rondo::launcher
