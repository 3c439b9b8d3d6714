#include <CLI/CLI.hpp>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/base/version.h"
#include "launcher/bench/start.h"
#include "launcher/bench/training.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {
namespace {

std::string footer() {
  return "Times three things, in turn with the rival: empty programs from start to exit; from the kill of a rank "
         "until\n"
         "all ranks run again; from the start to the end of the first training step. Rows and ratios are JSON, a line\n"
         "each. A rival that is not installed is named, with how to get it.\n\n"
         "examples:\n"
         "  rondo bench start --cases empty,restart\n"
         "  rondo bench start --against torchrun --json figures.jsonl\n\n" +
         exit_code_table();
}

struct Flags {
  JobFlags job{.ranks = "2", .run_dir = {}, .log_dir = {}, .grace_seconds = 10};
  std::string cases = "empty,restart,first-step", model = "mlp", against, json_file;
  int rounds = 0;
  bool quick = false;
};

void add_flags(CLI::App& app, Flags& flags) {
  app.add_option("-n,--nproc-per-node", flags.job.ranks, "ranks to start; default 2")->type_name("N");
  app.add_option("--run-dir", flags.job.run_dir, "the run's folder; default runs/<name>-<date>-<pid>")
      ->type_name("DIR");
  app.add_option("--cases", flags.cases, "what to time; default empty,restart,first-step")->type_name("LIST");
  app.add_option("--model", flags.model, "the net whose first step is timed: mlp, cnn, resnet18, gpt; default mlp")
      ->type_name("NAME");
  app.add_option("--against", flags.against, "measure it beside Rondo, in turn: torchrun")->type_name("RIVAL");
  app.add_option("--rounds", flags.rounds, "starts of each contender; default 9, with --quick 1")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  app.add_option("--json", flags.json_file, "also write a JSON object a line")->type_name("FILE");
  app.add_flag("--quick", flags.quick, "one round of small batches: shows that it works, on any build");
}

}  // namespace

void describe_bench_start(const DescribeVerb& take) {
  CLI::App app("Measures how soon ranks run.", "rondo bench start");
  Flags flags;
  add_flags(app, flags);
  set_usage(app, "rondo bench start [flags]");
  take(app);
}

int bench_start_command(const std::vector<std::string>& arguments) {
  CLI::App app("Measures how soon ranks run.", "rondo bench start");
  set_usage(app, "rondo bench start [flags]");
  app.footer(footer());
  Flags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  const auto ranks = parse_ranks(flags.job.ranks);
  if (!ranks.ok()) return usage_error(app, ranks.status().message());
  auto cases = parse_start_cases(flags.cases);
  if (!cases.ok()) return usage_error(app, cases.status().message());
  const std::vector<std::string> models = training_models();
  if (std::ranges::find(models, flags.model) == models.end())
    return usage_error(app, "--model: there is no '" + flags.model + "'" + suggestion(flags.model, models));
  if (!flags.against.empty() && flags.against != "torchrun")
    return usage_error(app, "--against " + flags.against + ": starts are measured beside torchrun only");
  const std::string build_type = nlohmann::json::parse(version_json())["build_type"];
  if (!flags.quick && build_type != "Release") {
    return usage_error(app, "figures come from a release build (`./dev bench start`), and this is " + build_type +
                                "; --quick shows on any build that it works");
  }

  std::vector<std::string> command{"rondo", "bench", "start"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  StartBench bench{.cases = *std::move(cases), .ranks = *ranks, .model = flags.model, .folder = {}};
  if (!flags.against.empty()) bench.rival = StartBench::Rival::kTorchrun;
  if (flags.quick) {
    bench.effort = StartBench::Effort::kQuick;
    bench.rounds = 1;
  }
  if (flags.rounds > 0) bench.rounds = flags.rounds;
  bench.json_file = flags.json_file;
  bench.folder = {.name = run_name("bench-start"),
                  .directory = flags.job.run_dir,
                  .log_directory = {},
                  .command = std::move(command),
                  .config_toml = "[bench]\noperation = \"start\"\ncases = " + toml_string(flags.cases) + "\nmodel = " +
                                 toml_string(flags.model) + "\nnproc_per_node = " + std::to_string(*ranks) +
                                 "\nagainst = " + toml_string(flags.against) + "\n",
                  .version_json = version_json()};
  const auto code = measure_start(bench);
  if (code.ok()) return *code;
  std::fprintf(stderr, "rondo bench start: %s\n", code.status().message().c_str());
  return exit_code_of(code.status());
}

}  // namespace rondo::launcher
