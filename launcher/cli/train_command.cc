#include <unistd.h>
#include <algorithm>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <cstdio>

#include "launcher/agent/ask.h"
#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/base/version.h"
#include "launcher/cli/options.h"
#include "launcher/cli/rendezvous_flags.h"
#include "launcher/cli/run_flags.h"
#include "launcher/cli/verbs.h"
#include "launcher/cli/verify_runs.h"
#include "launcher/coordinator/job.h"

namespace rondo::launcher {
namespace {

std::string footer() {
  return "Without a recipe it lists them. Settings are written key=value; a wrong key is named with the nearest "
         "one.\n\n"
         "examples:\n"
         "  rondo train fmnist-cnn\n"
         "  rondo train fmnist-cnn --nproc-per-node 4 epochs=1 batch=32\n"
         "  rondo train --check fmnist-cnn\n"
         "  rondo train fmnist-cnn --max-restarts 3      goes on from its newest checkpoint when a rank fails\n"
         "  rondo train fmnist-cnn --nnodes 2 --rdzv-endpoint HOST:29400 --secret-file FILE      on both hosts\n"
         "  rondo train --resume latest\n"
         "  rondo train --eval-only --resume latest\n"
         "  rondo train fmnist-mlp --verify --nproc-per-node 4\n\n"
         "--verify trains a few steps on all ranks, and again in other ways, which must give the same bits; and with\n"
         "the same global batches in one process, which may differ by rounding. If more differs, it ends with 7.\n\n" +
         exit_code_table();
}

struct TrainFlags {
  RunFlags run;  // of these: about the job, its ranks and where hosts meet
  std::string recipe, resume;
  bool eval_only = false, check = false, list = false, json = false, verify = false;
  std::vector<std::string> settings;
};

void add_train_flags(CLI::App& app, TrainFlags& flags) {
  flags.run.job.ranks = "2";
  add_job_flags(app, flags.run.job);
  add_rank_flags(app, flags.run.rank);
  app.add_option("--resume", flags.resume, "go on from the newest checkpoint of a run: its folder, or latest")
      ->type_name("RUN");
  app.add_flag("--eval-only", flags.eval_only, "measure the test accuracy, train nothing");
  app.add_flag("--check", flags.check, "look for mistakes, in two steps: findings with cause and cure");
  app.add_flag("--verify", flags.verify, "compare a short training with one process, and with itself in other ways");
  app.add_flag("--list", flags.list, "the recipes there are");
  app.add_flag("--json", flags.json, "results as JSON on stdout");
  app.add_option("words", flags.settings, "RECIPE and key=value ...");
  add_meeting_flags(app, flags.run, "several hosts, on each of them");
}

/// The first word without '=' is the recipe.
comm::Status take_recipe(TrainFlags& flags) {
  std::vector<std::string> settings;
  for (const std::string& word : flags.settings) {
    if (word.find('=') != std::string::npos) {
      settings.push_back(word);
    } else if (flags.recipe.empty()) {
      flags.recipe = word;
    } else {
      return {comm::Code::kInvalidArgument,
              "'" + word + "' is no setting: settings are written key=value (recipe: '" + flags.recipe + "')"};
    }
  }
  flags.settings = std::move(settings);
  return {};
}

/// The ranks of a host share memory unless told otherwise.
const char* transport_of(const std::vector<std::string>& settings, bool several_hosts) {
  const bool tcp = std::find(settings.begin(), settings.end(), "transport=tcp") != settings.end();
  if (tcp) return "tcp";
  return several_hosts ? "shm inside hosts and tcp across" : "shm";
}

/// What follows the program's name, for planning and for training alike.
std::vector<std::string> trainer_arguments(const TrainFlags& flags) {
  std::vector<std::string> words;
  if (!flags.recipe.empty()) words.push_back(flags.recipe);
  if (!flags.resume.empty()) words.insert(words.end(), {"--resume", flags.resume});
  if (flags.eval_only) words.emplace_back("--eval-only");
  if (flags.check) words.emplace_back("--check");
  if (flags.json) words.emplace_back("--json");
  words.insert(words.end(), flags.settings.begin(), flags.settings.end());
  return words;
}

/// Becomes `rondo-train --list`.
int list_recipes(const std::string& trainer, const TrainFlags& flags) {
  const char* json = flags.json ? "--json" : nullptr;
  ::execl(trainer.c_str(), trainer.c_str(), "--list", json, static_cast<char*>(nullptr));
  std::perror(trainer.c_str());
  return kExitPreflight;
}

/// What the trainer's plan settles. The checkpoint above all: once this run's folder is made, `latest` means that one.
void adopt_plan(const std::string& toml_text, TrainFlags& flags) {
  const toml::table plan = toml::parse(toml_text);
  const std::string name = plan["recipe"].value_or(flags.recipe);
  flags.recipe = name.substr(name.rfind('.') + 1);
  flags.resume = plan["resume"]["checkpoint"].value_or(flags.resume);
}

/// What does not go together with --verify; empty: nothing.
std::string verify_mistake(const TrainFlags& flags, const JobRequest& job) {
  if (!flags.resume.empty() || flags.eval_only || flags.check)
    return "--verify trains from the start: not with --resume, --eval-only or --check";
  if (flags.run.rank.max_restarts != "0")
    return "--verify compares runs that nothing interrupts: not with --max-restarts";
  if (!flags.run.job.log_dir.empty())
    return "--verify makes several runs, each with its logs in its folder: not with --log-dir";
  if (job.hosts) return "--verify compares several runs on one host: not with --nnodes";
  if (flags.recipe.empty()) return "--verify: which recipe?";
  if (std::find(flags.settings.begin(), flags.settings.end(), "algorithm=ring") != flags.settings.end())
    return "--verify compares buckets of other sizes bit for bit, and the ring's order of sums follows the buckets";
  return "";
}

int refuse(const comm::Status& status) {
  std::fprintf(stderr, "rondo train: %s\n", status.message().c_str());
  return exit_code_of(status);
}

}  // namespace

void describe_train(const DescribeVerb& take) {
  CLI::App app("Trains a shipped recipe, one process per rank.", "rondo train");
  TrainFlags flags;
  add_train_flags(app, flags);
  set_usage(app, "rondo train [RECIPE] [flags] [key=value ...]");
  take(app);
}

int train_command(const std::vector<std::string>& arguments) {
  CLI::App app("Trains a shipped recipe, one process per rank.", "rondo train");
  app.allow_extras();
  set_usage(app, "rondo train [RECIPE] [flags] [key=value ...]");
  app.footer(footer());
  TrainFlags flags;
  add_train_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  if (const auto taken = take_recipe(flags); !taken.ok()) return usage_error(app, taken.message());
  const auto ranks = parse_ranks(flags.run.job.ranks);
  if (!ranks.ok()) return usage_error(app, ranks.status().message());
  const auto grace = parse_grace(flags.run.job.grace_seconds);
  if (!grace.ok()) return usage_error(app, grace.status().message());
  JobRequest job;
  job.ranks = *ranks;
  job.grace = *grace;
  job.display.rank_zero = DisplayOptions::RankZero::kBare;
  if (const auto applied = apply_rank_flags(flags.run.rank, job); !applied.ok())
    return usage_error(app, applied.message());
  const auto sources = read_meeting(arguments, flags.run);
  if (!sources.ok()) return usage_error(app, sources.status().message());
  std::vector<std::string> notes;
  const auto meeting = meeting_of(flags.run, *sources, notes);
  if (!meeting.ok()) return usage_error(app, sources->with_origins(meeting.status().message()));
  job.hosts = meeting->hosts;
  job.master = meeting->master;
  job.run_id = flags.run.rdzv_id;
  if (flags.recipe.empty() && flags.resume.empty() && !flags.settings.empty())
    return usage_error(app, "which recipe? It comes before the settings");
  if (flags.verify) {
    if (const std::string mistake = verify_mistake(flags, job); !mistake.empty()) return usage_error(app, mistake);
  }
  const auto trainer = find_trainer();
  if (!trainer.ok()) return refuse(trainer.status());
  if (flags.list || (flags.recipe.empty() && flags.resume.empty())) return list_recipes(*trainer, flags);

  std::vector<std::string> question = trainer_arguments(flags);
  question.insert(question.begin(), {*trainer, "--plan"});
  const auto plan = ask(question);
  if (!plan.ok()) return refuse(plan.status());
  if (plan->exit_code != kExitOk) return plan->exit_code;  // it said why
  try {
    adopt_plan(plan->output, flags);
  } catch (const toml::parse_error& error) {
    return refuse({comm::Code::kCorrupt,
                   *trainer + " --plan answered something that is not TOML: " + std::string(error.description())});
  }

  if (flags.verify) {
    return verify_recipe({.trainer = *trainer,
                          .recipe = flags.recipe,
                          .ranks = *ranks,
                          .batch = toml::parse(plan->output)["batch"].value_or(int64_t{1}),
                          .settings = flags.settings,
                          .folder = flags.run.job.run_dir,
                          .grace_seconds = flags.run.job.grace_seconds,
                          .json = flags.json});
  }

  for (const std::string& note : notes)
    std::fprintf(stderr, "rondo train: note: %s\n", sources->with_origins(note).c_str());
  const std::vector<std::string> words = trainer_arguments(flags);
  job.program = *trainer;
  job.arguments = {*trainer};
  job.arguments.insert(job.arguments.end(), words.begin(), words.end());
  job.announce = [&flags, &job](const JobRequest::Facts& facts) {
    std::fprintf(flags.json ? stderr : stdout, "%s: %s x %s, transport %s, run folder %s\n", flags.recipe.c_str(),
                 counted(static_cast<size_t>(facts.ranks), "rank").c_str(),
                 counted(static_cast<size_t>(facts.threads), "thread").c_str(),
                 transport_of(flags.settings, job.hosts.has_value()), facts.run_folder.c_str());
    std::fflush(stdout);
  };
  job.again = without_run_dir(arguments);
  job.again.insert(job.again.begin(), {"rondo", "train"});
  std::vector<std::string> command{"rondo", "train"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  job.folder = {.name = run_name(flags.recipe),
                .directory = flags.run.job.run_dir,
                .log_directory = flags.run.job.log_dir,
                .command = std::move(command),
                .config_toml = plan->output,
                .version_json = version_json(),
                .log_cap_bytes = job.folder.log_cap_bytes};
  const auto code = run_job(job);
  return code.ok() ? *code : refuse(code.status());
}

}  // namespace rondo::launcher
