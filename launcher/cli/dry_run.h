/// What `rondo run --dry-run` and `--print-config` print. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/agent/job_plan.h"
#include "launcher/agent/job_request.h"
#include "launcher/cli/flag_sources.h"

namespace rondo::launcher {

struct DryRun {
  JobRequest job;
  std::string host;
  std::optional<int> cpu_limit;  // of the cgroup, in cpus
  std::vector<RankPlan> ranks;
  std::vector<std::string> problems = {};  // why the run could not start; empty: it can
  std::vector<std::string> warnings = {};  // what it needs by then and is not there yet
};
/// `inherited`: the launcher's environment; shown is what a rank's adds to it or changes.
std::string dry_run_text(const DryRun& run, const std::vector<std::string>& inherited);
/// A shell script that starts the same ranks by hand, with torchrun's variables: no launcher, no store of its own, no
/// report. They meet at MASTER_ADDR and MASTER_PORT. Its exit code is that of the last rank that failed.
std::string dry_run_script(const DryRun& run);
std::string dry_run_json(const DryRun& run, const std::vector<std::string>& inherited);

/// TOML: each flag's value, and a comment that says where it comes from. `command` may be empty.
std::string config_toml(const FlagSources& sources, const std::vector<std::string>& command);
std::string config_json(const FlagSources& sources, const std::vector<std::string>& command);

}  // namespace rondo::launcher
