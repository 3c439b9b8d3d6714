#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "launcher/agent/ask.h"
#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/cli/flag_sources.h"
#include "launcher/cli/options.h"
#include "launcher/cli/rendezvous_flags.h"
#include "launcher/cli/verbs.h"
#include "launcher/coordinator/job.h"
#include "launcher/doctor/checks.h"
#include "launcher/doctor/diagnose_job.h"
#include "launcher/doctor/diagnose_program.h"
#include "launcher/doctor/scratch.h"

namespace rondo::launcher {
namespace {

const char* const kPurpose = "What is in the way of a run: on this host, or on all hosts of a job.";
const char* const kFooter =
    "A line for each thing: good, note, warning or bad, and the cure. It changes nothing.\n"
    "Started as the ranks of a job, by whatever launcher, it looks at every host, has all ranks sum 4 bytes, and says\n"
    "where hosts differ. --nnodes starts it so.\n"
    "--program has a program of yours train two steps, on ranks of this host, and looks for the mistakes that `rondo\n"
    "train --check` looks for; it needs no change, and its stdout is not shown.\n\n"
    "examples:\n"
    "  rondo doctor                            this host\n"
    "  rondo doctor --json                     for programs\n"
    "  mpirun -np 2 --host a,b rondo doctor    two hosts; srun and others likewise\n"
    "  rondo doctor --nnodes 2 --rdzv-endpoint HOST:29400 --secret-file FILE\n"
    "                                          on each of two hosts; HOST is the first, and shows the outcome\n"
    "  rondo doctor --program -n 4 -- ./mine --lr 0.1\n\n"
    "exit codes:\n"
    "  0     nothing is bad; there may be warnings\n"
    "  2     wrong usage\n"
    "  3     something is bad: runs fail until it is cured; or --program found an error\n"
    "  4     the hosts or ranks did not find each other in time\n"
    "  N     the program's own, when it failed\n";

struct DoctorFlags {
  bool json = false, here = false, program = false;
  std::string ranks = "2";
  double timeout_seconds = 60;
  RunFlags run;  // its flags about how hosts meet
};

void add_flags(CLI::App& app, DoctorFlags& flags) {
  app.add_flag("--json", flags.json, "one JSON object");
  app.add_flag("--here", flags.here, "this host alone, also where the environment makes this process a rank of a job");
  app.add_option("--timeout", flags.timeout_seconds, "how long a rank of a job waits for the others")
      ->type_name("S")
      ->capture_default_str();
  app.add_flag("--program", flags.program, "look at a program of yours, which follows: its training, in two steps");
  app.add_option("-n,--nproc-per-node", flags.ranks, "ranks of --program")->type_name("N")->capture_default_str();
  add_meeting_flags(app, flags.run, "several hosts, on each of them");
  set_usage(app, "rondo doctor [flags] [PROGRAM ARGS...]");
}

std::string own_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

/// 4 bytes summed by two ranks, through the launcher, the store and shared memory, as every run does it.
Diagnosis all_reduce() {
  const Scratch scratch;
  if (!scratch.made()) return scratch.refusal("all-reduce");
  const auto answer = ask({own_path(), "bench", "all_reduce", "--quick", "--sizes", "4", "-n", "2", "--rounds", "1",
                           "--iterations", "1", "--run-dir", scratch.path() + "/run"});
  if (answer.ok() && answer->exit_code == kExitOk)
    return {.subject = "all-reduce", .text = "two ranks of this host sum 4 bytes right"};
  return {.subject = "all-reduce",
          .verdict = Grade::kBad,
          .text = "two ranks of this host did not sum 4 bytes: " +
                  (answer.ok() ? "exit code " + std::to_string(answer->exit_code) : answer.status().message()),
          .cure = "what it said is above; `rondo bench all_reduce --quick` tries it again"};
}

int print(const std::vector<Diagnosis>& diagnoses, const DoctorFlags& flags) {
  std::fputs((flags.json ? diagnoses_json(diagnoses) : diagnoses_text(diagnoses)).c_str(), stdout);
  return worst(diagnoses) == Grade::kBad ? kExitPreflight : kExitOk;
}

int this_host(const DoctorFlags& flags) {
  std::vector<Diagnosis> diagnoses = check_host(read_host());
  if (find_part("rondo-comm-bench").ok()) diagnoses.push_back(all_reduce());
  return print(diagnoses, flags);
}

/// One rank of `rondo doctor` on each host, as `rondo run` would start it.
int over_hosts(const CLI::App& app, const DoctorFlags& flags, const Meeting& meeting,
               const std::vector<std::string>& typed) {
  const Scratch scratch;
  if (!scratch.made()) return print({scratch.refusal("job")}, flags);
  char timeout[32];
  std::snprintf(timeout, sizeof timeout, "%g", flags.timeout_seconds);
  JobRequest job;
  job.program = own_path();
  job.arguments = {"rondo", "doctor", "--timeout", timeout};
  if (flags.json) job.arguments.emplace_back("--json");
  job.hosts = meeting.hosts;
  job.master = meeting.master;
  job.run_id = flags.run.rdzv_id;
  job.display.rank_zero = DisplayOptions::RankZero::kBare;
  job.folder = scratch.run_folder(typed);
  const auto code = run_job(job);
  if (code.ok()) return *code;
  std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), code.status().message().c_str());
  return exit_code_of(code.status());
}

int look_at_program(const CLI::App& app, const DoctorFlags& flags, const std::vector<std::string>& words) {
  if (words.empty()) return usage_error(app, "--program: which program? It follows the flags");
  const auto ranks = parse_ranks(flags.ranks);
  if (!ranks.ok()) return usage_error(app, ranks.status().message());
  const auto program = find_program(words[0]);
  if (!program.ok()) return usage_error(app, program.status().message());
  return diagnose_program({.path = *program,
                           .words = words,
                           .ranks = *ranks,
                           .output = flags.json ? ProgramDoctor::Output::kJson : ProgramDoctor::Output::kText});
}

}  // namespace

void describe_doctor(const DescribeVerb& take) {
  CLI::App app(kPurpose, "rondo doctor");
  DoctorFlags flags;
  add_flags(app, flags);
  take(app);
}

int doctor_command(const std::vector<std::string>& arguments) {
  CLI::App app(kPurpose, "rondo doctor");
  app.allow_extras();
  app.footer(kFooter);
  DoctorFlags flags;
  add_flags(app, flags);
  const auto split = split_at_program(app, arguments);
  if (!split.ok()) return usage_error(app, split.status().message());
  if (const Parsed parsed = parse(app, split->flags); !parsed.go_on) return parsed.exit_code;
  if (!(flags.timeout_seconds >= 0.1 && flags.timeout_seconds <= 86400))
    return usage_error(app, "--timeout: seconds from 0.1 to 86400");
  if (flags.program) return look_at_program(app, flags, split->rest);
  if (app.get_option("--nproc-per-node")->count() > 0)
    return usage_error(app, "--nproc-per-node is for --program: on several hosts there is one rank on each");
  if (!split->rest.empty()) return usage_error(app, "unexpected argument '" + split->rest[0] + "'");
  const bool hosts_typed = app.get_option("--nnodes")->count() > 0;
  if (flags.here && hosts_typed) return usage_error(app, "--here means this host, and --nnodes several; leave one");
  if (flags.here) return this_host(flags);
  if (!hosts_typed) {  // ranks of a job find PET_NNODES, too
    const auto place = comm::read_bootstrap({}, comm::process_environment());
    if (!place.ok())
      return print({{.subject = "job",
                     .verdict = Grade::kBad,
                     .text = place.status().message(),
                     .cure = "put right the variables of the job that this process seems to be a rank of; --here looks "
                             "at this host alone"}},
                   flags);
    if (place->source != comm::Source::kSingle)
      return diagnose_job({.place = *place,
                           .timeout = std::chrono::duration<double>(flags.timeout_seconds),
                           .output = flags.json ? JobDoctor::Output::kJson : JobDoctor::Output::kText});
  }
  const auto sources = read_meeting(split->flags, flags.run);
  if (!sources.ok()) return usage_error(app, sources.status().message());
  std::vector<std::string> notes;
  const auto meeting = meeting_of(flags.run, *sources, notes);
  if (!meeting.ok()) return usage_error(app, sources->with_origins(meeting.status().message()));
  for (const std::string& note : notes)
    std::fprintf(stderr, "rondo doctor: note: %s\n", sources->with_origins(note).c_str());
  return meeting->hosts ? over_hosts(app, flags, *meeting, arguments) : this_host(flags);
}

}  // namespace rondo::launcher
