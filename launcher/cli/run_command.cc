#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/base/version.h"
#include "launcher/cli/dry_run.h"
#include "launcher/cli/flag_sources.h"
#include "launcher/cli/options.h"
#include "launcher/cli/run_flags.h"
#include "launcher/cli/verbs.h"
#include "launcher/coordinator/job.h"
#include "rondo/comm/secret.h"

namespace rondo::launcher {
namespace {

std::string footer() {
  return "The program's own arguments follow it and are passed on untouched.\n\n"
         "Flags are written with dashes or underscores. What the command line does not say is taken from RONDO_<FLAG>\n"
         "(RONDO_NPROC_PER_NODE=4), then from PET_<FLAG> as with torchrun, then from --config, then the default; an\n"
         "empty variable says nothing. --print-config shows what came from where.\n\n"
         "examples:\n"
         "  rondo run ./mine                                 one rank\n"
         "  rondo run --nproc-per-node 4 ./mine --lr 0.1     four ranks\n"
         "  rondo run -n 2 --run-dir runs/first -- ./mine -v its logs and events in runs/first\n"
         "  rondo run -n 2 --max-restarts 3 ./mine           started again when a rank fails\n"
         "  rondo run -n 8 --dry-run ./mine                  who would run where, with what\n"
         "  rondo run -n 8 --dry-run=sh ./mine > by-hand.sh  the same ranks without the launcher\n"
         "  rondo run --nnodes 2 --rdzv-endpoint HOST:29400 --secret-file FILE -n 4 ./mine\n"
         "                                                   on each of two hosts; HOST is the first\n\n"
         "Every rank finds torchrun's variables (RANK, WORLD_SIZE, ...) and Rondo's own.\n"
         "A terminal's input stays with rondo; a pipe or file is rank 0's stdin. All others read /dev/null.\n\n" +
         exit_code_table();
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

constexpr std::array kPython{"python3", "-u", "-m"};

/// PROGRAM ARGS..., with Python before a module; the config.toml of an earlier run has it already.
std::vector<std::string> program_words(const RunFlags& flags, std::vector<std::string> words) {
  const bool there = words.size() > kPython.size() && std::equal(kPython.begin(), kPython.end(), words.begin());
  if (flags.module && !words.empty() && !there) words.insert(words.begin(), kPython.begin(), kPython.end());
  return words;
}

/// The words that do the same again, from any shell, in a folder of its own.
std::vector<std::string> words_again(const FlagSources& sources, const SplitArguments& split) {
  std::vector<std::string> words{"rondo", "run"};
  const auto add = [&words](const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  add(without_run_dir(sources.words_of_variables()));
  add(without_run_dir(split.flags));
  if (!split.rest.empty() && split.rest[0].starts_with('-')) words.emplace_back("--");
  add(split.rest);
  return words;
}

int dry_run(const JobRequest& job, const RunFlags& flags) {
  const HostCpus cpus = read_cpus();
  DryRun run{
      .job = job, .host = host_name(), .cpu_limit = cpus.limit, .ranks = plan_ranks(job, expected_place(job), cpus)};
  // Of several hosts only the first holds the port, and which that is shows when they meet.
  for (const auto& status :
       {find_part("rondo-exec").status(), job.hosts ? comm::Status() : hold_port(job.master).status()})
    if (!status.ok()) run.problems.push_back(status.message());
  if (run.job.hosts) {
    std::string& secret_file = run.job.hosts->secret_file;
    const comm::Status readable = comm::Secret::read_file(secret_file).status();
    if (!readable.ok()) run.warnings.push_back(readable.message());
    std::error_code error;
    const auto absolute = std::filesystem::absolute(secret_file, error);  // a script may be started elsewhere
    if (!error) secret_file = absolute.string();
  }
  if (flags.as_script) {
    std::fputs(dry_run_script(run).c_str(), stdout);
    return run.problems.empty() ? kExitOk : kExitPreflight;
  }
  const auto inherited = own_environment();
  std::fputs((flags.json ? dry_run_json(run, inherited) : dry_run_text(run, inherited)).c_str(), stdout);
  return run.problems.empty() ? kExitOk : kExitPreflight;
}

}  // namespace

void describe_run(const DescribeVerb& take) {
  CLI::App app("Starts PROGRAM once per rank, on this host or several.", "rondo run");
  RunFlags flags;
  add_run_flags(app, flags);
  set_usage(app, "rondo run [flags] PROGRAM ARGS...");
  take(app);
}

int run_command(const std::vector<std::string>& arguments) {
  CLI::App app("Starts PROGRAM once per rank, on this host or several.", "rondo run");
  app.allow_extras();
  app.footer(footer());
  RunFlags flags;
  add_run_flags(app, flags);
  set_usage(app, "rondo run [flags] PROGRAM ARGS...");

  auto split = split_at_program(app, arguments);
  if (!split.ok()) return usage_error(app, split.status().message());
  const auto as_script = std::ranges::find(split->flags, "--dry-run=sh");
  flags.as_script = as_script != split->flags.end();
  if (flags.as_script) *as_script = "--dry-run";
  const auto sources =
      FlagSources::resolve(app, split->flags, "launch", [](const char* name) { return std::getenv(name); });
  if (!sources.ok()) return usage_error(app, sources.status().message());
  if (const Parsed parsed = parse(app, sources->words()); !parsed.go_on) return parsed.exit_code;
  std::vector<std::string> notes = sources->notes();
  auto job = job_of(flags, *sources, notes);
  if (!job.ok()) return usage_error(app, sources->with_origins(job.status().message()));
  const std::vector<std::string> words = program_words(flags, split->rest.empty() ? sources->command() : split->rest);
  if (flags.print_config) {
    std::fputs((flags.json ? config_json(*sources, words) : config_toml(*sources, words)).c_str(), stdout);
    return kExitOk;
  }
  if (words.empty()) return usage_error(app, "which program? It follows the flags");
  const auto program = find_program(words[0]);
  if (!program.ok()) return usage_error(app, program.status().message());
  for (const std::string& note : notes)
    std::fprintf(stderr, "rondo run: note: %s\n", sources->with_origins(note).c_str());

  if (const char* text = std::getenv("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE"); text != nullptr)
    job->display.prefix_template = {.text = text, .role = job->role};
  job->program = *program;
  job->arguments = words;
  if (flags.dry_run) return dry_run(*job, flags);
  std::vector<std::string> command{"rondo", "run"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  job->again = words_again(*sources, *split);
  job->folder.name = run_name(flags.module ? words[kPython.size()] : words[0]);
  job->folder.command = std::move(command);
  job->folder.config_toml = config_toml(*sources, words);
  job->folder.version_json = version_json();
  const auto code = run_job(*job);
  if (code.ok()) return *code;
  std::fprintf(stderr, "rondo run: %s\n", sources->with_origins(code.status().message()).c_str());
  return exit_code_of(code.status());
}

}  // namespace rondo::launcher
