#include <CLI/CLI.hpp>
#include <cstdio>

#include "launcher/agent/agent.h"
#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/base/version.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {
namespace {

std::string footer() {
  return "The program's own arguments follow it and are passed on untouched.\n\n"
         "examples:\n"
         "  rondo run ./mine                                 one rank\n"
         "  rondo run --nproc-per-node 4 ./mine --lr 0.1     four ranks\n"
         "  rondo run -n 2 --run-dir runs/first -- ./mine -v its logs and events in runs/first\n\n"
         "Every rank finds torchrun's variables (RANK, WORLD_SIZE, ...) and Rondo's own.\n\n" +
         exit_code_table();
}

std::string launch_config(const JobRequest& job) {
  std::string words;
  for (const std::string& word : job.arguments) words += (words.empty() ? "" : ", ") + toml_string(word);
  return "[launch]\nprogram = " + toml_string(job.program) + "\ncommand = [" + words +
         "]\nnproc_per_node = " + std::to_string(job.ranks) + "\n";
}

}  // namespace

int run_command(const std::vector<std::string>& arguments) {
  CLI::App app("Starts PROGRAM once per rank on this machine.", "rondo run");
  app.allow_extras();
  set_usage(app, "rondo run [flags] PROGRAM ARGS...");
  app.footer(footer());
  JobFlags flags{.ranks = "1", .run_dir = {}, .log_dir = {}, .grace_seconds = 10};
  add_job_flags(app, flags);

  const auto split = split_at_program(app, arguments);
  if (!split.ok()) return usage_error(app, split.status().message());
  if (const Parsed parsed = parse(app, split->flags); !parsed.go_on) return parsed.exit_code;
  const auto ranks = parse_ranks(flags.ranks);
  if (!ranks.ok()) return usage_error(app, ranks.status().message());
  const auto grace = parse_grace(flags.grace_seconds);
  if (!grace.ok()) return usage_error(app, grace.status().message());
  if (split->rest.empty()) return usage_error(app, "which program? It follows the flags");
  const auto program = find_program(split->rest[0]);
  if (!program.ok()) return usage_error(app, program.status().message());

  JobRequest job;
  job.program = *program;
  job.arguments = split->rest;
  job.ranks = *ranks;
  job.grace = *grace;
  std::vector<std::string> command{"rondo", "run"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  job.folder = {.name = run_name(split->rest[0]),
                .directory = flags.run_dir,
                .log_directory = flags.log_dir,
                .command = std::move(command),
                .config_toml = launch_config(job),
                .version_json = version_json()};
  const auto code = run_job(std::move(job));
  if (code.ok()) return *code;
  std::fprintf(stderr, "rondo run: %s\n", code.status().message().c_str());
  return exit_code_of(code.status());
}

}  // namespace rondo::launcher
