/// The flags of `rondo run`: torchrun's and ours.
///
/// A flag of torchrun that cannot do anything here is taken and said so, once; one whose absence the user would notice
/// is refused with what to do instead.
#pragma once

#include <string>
#include <vector>

#include "launcher/agent/job_request.h"
#include "launcher/cli/flag_sources.h"
#include "launcher/cli/options.h"

namespace rondo::launcher {

/// Flags about the ranks of a job and what they write, of every verb that runs a program of the user's or a recipe.
struct RankFlags {
  std::string max_restarts = "0";
  std::string prefix = "auto", show = "all", log_cap = "1GiB", numa_binding = "cores";
  std::string redirects = "0", tee = "0", local_ranks_filter;
  bool collapse = false;
};
void add_rank_flags(CLI::App& app, RankFlags& flags);
/// Puts them into `job`, whose number of ranks is known. kInvalidArgument names the flag.
comm::Status apply_rank_flags(const RankFlags& flags, JobRequest& job);

struct RunFlags {
  JobFlags job{.ranks = "1", .run_dir = {}, .log_dir = {}, .grace_seconds = 10};
  RankFlags rank;
  // torchrun's.
  std::string nnodes = "1:1", node_rank = "0", master_addr = "127.0.0.1", master_port = "0", local_addr;
  std::string rdzv_backend = "static", rdzv_endpoint, rdzv_id, rdzv_conf, secret_file;
  std::string role = "default";
  std::string signals_to_handle = "SIGTERM,SIGINT,SIGHUP,SIGQUIT";
  std::string start_method = "spawn", event_log_handler = "null", logs_specs;
  std::string duplicate_stdout_filters, duplicate_stderr_filters;
  double monitor_interval = 0.1;
  bool standalone = false, module = false, no_python = false, run_path = false, virtual_local_rank = false;
  // Ours.
  std::string config;
  bool as_script = false;  // --dry-run=sh
  bool dry_run = false, print_config = false, json = false;
};
void add_run_flags(CLI::App& app, RunFlags& flags);

/// What the flags ask for: everything of the request but program, arguments and the folder's texts. `notes` gets a
/// sentence for each flag that has no effect. kInvalidArgument names the flag.
comm::Result<JobRequest> job_of(const RunFlags& flags, const FlagSources& sources, std::vector<std::string>& notes);

}  // namespace rondo::launcher
