#include "launcher/cli/run_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "launcher/cli/rendezvous_flags.h"
#include "launcher/cli/torchrun_values.h"

namespace rondo::launcher {
namespace {

using Notes = std::vector<std::string>;

comm::Status wrong(std::string message) { return {comm::Code::kInvalidArgument, std::move(message)}; }

/// Flags that change nothing here, or something that is not there.
comm::Status check_others(const RunFlags& flags, const FlagSources& sources, Notes& notes) {
  if (flags.start_method != "spawn" && flags.start_method != "fork" && flags.start_method != "forkserver")
    return wrong("--start-method " + flags.start_method + ": there are spawn, fork and forkserver");
  if (flags.run_path)
    return wrong(
        "--run-path has torchrun itself interpret a script, and `rondo run` is no Python; write "
        "`rondo run python3 -u SCRIPT`");
  if (!flags.logs_specs.empty())
    return wrong("--logs-specs names a plug-in in Python; --prefix, --redirects and --log-dir say how output is kept");
  if (!flags.duplicate_stdout_filters.empty() || !flags.duplicate_stderr_filters.empty())
    return wrong(
        "--duplicate-stdout-filters and --duplicate-stderr-filters are not there; every rank's output is in "
        "the run's logs/, for grep");
  if (flags.virtual_local_rank)
    return wrong(
        "--virtual-local-rank hands out GPUs one by one, and Rondo trains on the CPU; set CUDA_VISIBLE_DEVICES "
        "in the program, from LOCAL_RANK");
  if (flags.module && flags.no_python)
    return wrong("--module runs a Python module and --no-python forbids Python; give one of them");
  if (sources.given("monitor-interval"))
    notes.emplace_back("--monitor-interval has no effect: the kernel tells the launcher at once when a rank ends");
  if (sources.given("start-method"))
    notes.emplace_back("--start-method has no effect: it is for functions in Python, and ranks are programs");
  if (flags.event_log_handler != "null")
    notes.emplace_back("--event-log-handler has no effect: events are always in the run's events.jsonl");
  return {};
}

comm::Result<DisplayOptions> display_of(const RankFlags& flags, int ranks) {
  DisplayOptions display;
  if (flags.prefix != "auto") {
    display.prefix = prefix_of(flags.prefix);
    if (!display.prefix) return wrong("--prefix " + flags.prefix + ": there are auto, none, rank, full and json");
  }
  if (flags.collapse) display.equal_lines = DisplayOptions::EqualLines::kCollapsed;
  const auto redirected = parse_streams("--redirects", flags.redirects, ranks);
  RONDO_TRY(redirected);
  const auto teed = parse_streams("--tee", flags.tee, ranks);
  RONDO_TRY(teed);
  const auto local = parse_rank_set(flags.local_ranks_filter, ranks);
  RONDO_TRY(local);
  for (int rank = 0; rank < ranks; ++rank) {
    const Streams &away = (*redirected)[static_cast<size_t>(rank)], &both = (*teed)[static_cast<size_t>(rank)];
    const bool filtered = !local->empty() && !local->contains(rank);
    if (filtered || (away.output && !both.output)) display.hidden.insert({rank, Channel::kOutput});
    if (filtered || (away.errors && !both.errors)) display.hidden.insert({rank, Channel::kErrors});
  }
  return display;
}

/// A flag with a word behind it.
CLI::Option* add_text(CLI::App& app, const char* name, std::string& to, const char* type, const char* purpose) {
  return app.add_option(name, to, purpose)->type_name(type)->capture_default_str();
}

}  // namespace

void add_rank_flags(CLI::App& app, RankFlags& flags) {
  add_text(app, "--max-restarts", flags.max_restarts, "N", "start all ranks again after a failure, at most N times");
  add_text(app, "--prefix", flags.prefix, "STYLE",
           "before each line: none, rank, full (time, host, rank, stream), json; auto is rank when there are several");
  add_text(app, "--show", flags.show, "RANKS",
           "whose output is shown: all, first, failed (only in the failure report), or ranks such as 0,3-5");
  app.add_flag("--collapse", flags.collapse, "show a line that several ranks write as one: [ranks 0-3] ...");
  add_text(app, "--log-cap", flags.log_cap, "SIZE",
           "bytes of a rank's .out and .err each: beginning and end are kept; 0: no cap");
  add_text(app, "--numa-binding", flags.numa_binding, "HOW",
           "bind a rank to: its cores, node, socket, core-complex, exclusive (cores of one node), none");
  add_text(app, "-r,--redirects", flags.redirects, "STREAMS",
           "into the logs only: 0 none, 1 stdout, 2 stderr, 3 both; by local rank 0:1,1:3");
  add_text(app, "-t,--tee", flags.tee, "STREAMS", "into the logs and shown all the same; as above");
  add_text(app, "--local-ranks-filter", flags.local_ranks_filter, "LIST",
           "show these local ranks only; the logs have all");
}

comm::Status apply_rank_flags(const RankFlags& flags, JobRequest& job) {
  const auto restarts = parse_number("--max-restarts", flags.max_restarts, {0, 1'000'000});
  RONDO_TRY(restarts.status());
  job.max_restarts = static_cast<int>(*restarts);
  const auto binding = binding_of(flags.numa_binding);
  if (!binding)
    return wrong("--numa-binding " + flags.numa_binding +
                 ": there are node, socket, core-complex, exclusive; cores (the default) and none");
  job.binding = *binding;
  auto display = display_of(flags, job.ranks);
  RONDO_TRY(display.status());
  if (flags.show != "all") {  // by rank of the job: how many there will be is not known before hosts have met
    auto shown = parse_shown(flags.show, job.hosts ? job.hosts->most * kMostRanks : job.ranks);
    RONDO_TRY(shown.status());
    display->shown = *std::move(shown);
  }
  display->rank_zero = job.display.rank_zero;
  display->prefix_template = job.display.prefix_template;
  job.display = *std::move(display);
  const auto cap = parse_bytes("--log-cap", flags.log_cap);
  RONDO_TRY(cap.status());
  job.folder.log_cap_bytes = *cap;
  return {};
}

void add_run_flags(CLI::App& app, RunFlags& flags) {
  add_job_flags(app, flags.job);
  add_rank_flags(app, flags.rank);
  const auto text = [&](const char* name, std::string& to, const char* type, const char* purpose) {
    return add_text(app, name, to, type, purpose);
  };
  text("--config", flags.config, "FILE",
       "read flags from the table [launch] of a TOML file, e.g. a run's config.toml; may be repeated");
  app.add_flag("--dry-run", flags.dry_run,
               "say what would be started: ranks, cpus, environment, ports; start nothing; --dry-run=sh: a script that "
               "starts the "
               "same ranks by hand");
  app.add_flag("--print-config", flags.print_config, "print every flag's value and where it comes from");
  app.add_flag("--json", flags.json, "--dry-run and --print-config as JSON");

  const char* const kRest = kFurtherFlags;
  add_meeting_flags(app, flags, kRest);
  text("--master-addr", flags.master_addr, "HOST", "MASTER_ADDR of the ranks: an address of the first host")
      ->group(kRest);
  text("--master-port", flags.master_port, "PORT", "MASTER_PORT of the ranks; 0: a free one")->group(kRest);
  text("--local-addr", flags.local_addr, "HOST", "MASTER_ADDR where --rdzv-backend c10d or --standalone is given")
      ->group(kRest);
  text("--rdzv-backend", flags.rdzv_backend, "NAME", "static or c10d: the same here")->group(kRest);
  app.add_flag("--standalone", flags.standalone, "what happens anyway: one host, a free port")->group(kRest);
  text("--role", flags.role, "NAME", "ROLE_NAME of the ranks")->group(kRest);
  text("--signals-to-handle", flags.signals_to_handle, "LIST", "signals that are passed on and stop the run")
      ->group(kRest);
  app.add_flag("-m,--module", flags.module, "PROGRAM is a Python module: python3 -u -m PROGRAM")->group(kRest);
  app.add_flag("--no-python", flags.no_python, "what happens anyway: PROGRAM is executed as it is")->group(kRest);
  app.add_option("--monitor-interval", flags.monitor_interval, "no effect: the kernel tells at once")
      ->type_name("S")
      ->capture_default_str()
      ->group(kRest);
  text("--start-method", flags.start_method, "NAME", "no effect: ranks are programs")->group(kRest);
  text("--event-log-handler", flags.event_log_handler, "NAME", "no effect: see events.jsonl")->group(kRest);
  app.add_flag("--run-path", flags.run_path, "refused: `rondo run python3 -u SCRIPT` does it")->group(kRest);
  text("--logs-specs", flags.logs_specs, "NAME", "refused: a plug-in in Python")->group(kRest);
  text("--duplicate-stdout-filters", flags.duplicate_stdout_filters, "LIST", "refused: grep the logs")->group(kRest);
  text("--duplicate-stderr-filters", flags.duplicate_stderr_filters, "LIST", "refused: grep the logs")->group(kRest);
  app.add_flag("--virtual-local-rank", flags.virtual_local_rank, "refused: it is for GPUs")->group(kRest);
}

comm::Result<JobRequest> job_of(const RunFlags& flags, const FlagSources& sources, std::vector<std::string>& notes) {
  RONDO_TRY(check_others(flags, sources, notes));
  JobRequest job;
  const auto ranks = parse_ranks(flags.job.ranks);
  RONDO_TRY(ranks);
  job.ranks = *ranks;
  const auto grace = parse_grace(flags.job.grace_seconds);
  RONDO_TRY(grace);
  job.grace = *grace;
  auto meeting = meeting_of(flags, sources, notes);
  RONDO_TRY(meeting);
  job.hosts = meeting->hosts;
  job.master = meeting->master;
  RONDO_TRY(apply_rank_flags(flags.rank, job));
  auto signals = parse_signals(flags.signals_to_handle);
  RONDO_TRY(signals);
  job.stop_signals = *std::move(signals);
  job.role = flags.role;
  if (flags.standalone && sources.given("rdzv-id")) {
    notes.emplace_back("--rdzv-id has no effect with --standalone, as with torchrun");
  } else {
    job.run_id = flags.rdzv_id;
  }
  job.folder.directory = flags.job.run_dir;
  job.folder.log_directory = flags.job.log_dir;
  return job;
}

}  // namespace rondo::launcher
