#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <sstream>

#include <nlohmann/json.hpp>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/base/version.h"
#include "launcher/bench/training.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {
namespace {

std::string footer() {
  return "Trains with overlap on and off, as one worker with and without the wrapper, and measures its memory. "
         "Contenders\n"
         "take turns; one whose loss differs in the end is refused. Rows and ratios are JSON, a line each.\n\n"
         "examples:\n"
         "  rondo bench train --models cnn --quick\n"
         "  rondo bench train --models mlp,cnn,resnet18,gpt --against pytorch --json figures.jsonl\n\n" +
         exit_code_table();
}

struct Flags {
  JobFlags job{.ranks = "2", .run_dir = {}, .log_dir = {}, .grace_seconds = 10};
  std::string models = "mlp,cnn,resnet18,gpt", against, json_file;
  int rounds = 0;
  int64_t batch = 0;
  bool quick = false;
};

void add_flags(CLI::App& app, Flags& flags) {
  add_job_flags(app, flags.job);
  app.add_option("--models", flags.models, "nets to train; default mlp,cnn,resnet18,gpt")->type_name("LIST");
  app.add_option("--against", flags.against, "train beside it, in turn: pytorch (DDP over Gloo)")->type_name("RIVAL");
  app.add_option("--rounds", flags.rounds, "starts of each contender; default 9, with --quick 1")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  app.add_option("--batch", flags.batch, "samples a step and rank; default by net")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--json", flags.json_file, "also write a JSON object a line")->type_name("FILE");
  app.add_flag("--quick", flags.quick, "few steps of small batches: shows that it works, on any build");
}

comm::Result<std::vector<std::string>> parse_models(const std::string& text) {
  const std::vector<std::string> known = training_models();
  std::vector<std::string> models;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) {
    if (std::ranges::find(known, name) == known.end()) {
      return comm::Status(
          comm::Code::kInvalidArgument,
          "--models: there is no '" + name + "'" + suggestion(name, known) + "; there are mlp, cnn, resnet18 and gpt");
    }
    if (std::ranges::find(models, name) == models.end()) models.push_back(name);
  }
  if (models.empty()) return comm::Status(comm::Code::kInvalidArgument, "--models: which? mlp, cnn, resnet18, gpt");
  return models;
}

}  // namespace

void describe_bench_train(const DescribeVerb& take) {
  CLI::App app("Measures training, each result checked.", "rondo bench train");
  Flags flags;
  add_flags(app, flags);
  set_usage(app, "rondo bench train [flags]");
  take(app);
}

int bench_train_command(const std::vector<std::string>& arguments) {
  CLI::App app("Measures training, each result checked.", "rondo bench train");
  set_usage(app, "rondo bench train [flags]");
  app.footer(footer());
  Flags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  const auto ranks = parse_ranks(flags.job.ranks);
  if (!ranks.ok()) return usage_error(app, ranks.status().message());
  const auto grace = parse_grace(flags.job.grace_seconds);
  if (!grace.ok()) return usage_error(app, grace.status().message());
  auto models = parse_models(flags.models);
  if (!models.ok()) return usage_error(app, models.status().message());
  if (!flags.against.empty() && flags.against != "pytorch")
    return usage_error(app, "--against " + flags.against + ": training is measured beside pytorch only");
  const std::string build_type = nlohmann::json::parse(version_json())["build_type"];
  if (!flags.quick && build_type != "Release") {
    return usage_error(app, "figures come from a release build (`./dev bench train`), and this is " + build_type +
                                "; --quick shows on any build that it works");
  }

  std::vector<std::string> command{"rondo", "bench", "train"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  TrainingBench bench{.models = *std::move(models), .ranks = *ranks, .rounds = 9, .batch = flags.batch};
  if (!flags.against.empty()) bench.rival = TrainingBench::Rival::kPyTorch;
  if (flags.quick) {
    bench.effort = TrainingBench::Effort::kQuick;
    bench.rounds = 1;
  }
  if (flags.rounds > 0) bench.rounds = flags.rounds;
  bench.json_file = flags.json_file;
  bench.grace = *grace;
  bench.folder = {.name = run_name("bench-train"),
                  .directory = flags.job.run_dir,
                  .log_directory = flags.job.log_dir,
                  .command = std::move(command),
                  .config_toml = "[bench]\noperation = \"train\"\nmodels = " + toml_string(flags.models) +
                                 "\nnproc_per_node = " + std::to_string(*ranks) +
                                 "\nagainst = " + toml_string(flags.against) + "\n",
                  .version_json = version_json()};
  const auto code = measure_training(bench);
  if (code.ok()) return *code;
  std::fprintf(stderr, "rondo bench train: %s\n", code.status().message().c_str());
  return exit_code_of(code.status());
}

}  // namespace rondo::launcher
