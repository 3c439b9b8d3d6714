#include "launcher/bench/training.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/version.h"
#include "launcher/bench/contenders.h"
#include "launcher/bench/training_rows.h"
#include "launcher/coordinator/job.h"

namespace rondo::launcher {
namespace {

using comm::Code;
using comm::Result;
using comm::Status;

constexpr const char* kDriver = "rondo-train-bench";
constexpr const char* kRivalDriver = "rondo-bench-pytorch";

/// One start: its processes write rows of one or several contenders.
struct StartPlan {
  std::string name;
  std::vector<std::string> words;  // program, then its first arguments
  int processes = 1;
  int first_rounds = 0;  // 0: in all rounds; else only in so many
  bool rival = false;    // one that fails has no row of that round; the others go on
};

/// How much of a net is trained in one start: about two seconds on one core.
struct Amount {
  int64_t batch;
  int blocks, steps;
};
Amount amount_of(const TrainingBench& bench, const std::string& model) {
  static const std::map<std::string, Amount> kByModel{
      {"mlp", {64, 3, 4}}, {"cnn", {64, 5, 6}}, {"resnet18", {16, 3, 2}}, {"gpt", {12, 5, 6}}};
  Amount amount = kByModel.at(model);
  if (bench.effort == TrainingBench::Effort::kQuick) amount = {.batch = 4, .blocks = 1, .steps = 2};
  if (bench.batch > 0) amount.batch = bench.batch;
  return amount;
}

/// The Python that has PyTorch.
Result<std::string> find_pytorch() {
  const char* given = std::getenv("RONDO_PYTHON");
  if (given != nullptr && *given != '\0') return find_program(given);
  return Status(Code::kResource,
                "PyTorch cannot be measured: RONDO_PYTHON does not name a Python with torch 2.11; `./dev bench train "
                "--against pytorch` does, and `./dev setup --pytorch` installs it");
}

class Match {
 public:
  explicit Match(const TrainingBench& bench) : bench_(bench) {}

  Result<int> run() {
    RONDO_TRY(find_starts());
    if (!bench_.json_file.empty()) {
      json_.open(bench_.json_file, std::ios::trunc);
      if (!json_) {
        return Status(Code::kInvalidArgument,
                      "--json " + bench_.json_file + ": cannot write there: " + std::strerror(errno));
      }
      nlohmann::ordered_json header = nlohmann::ordered_json::parse(version_json());
      header["kind"] = "header";
      json_ << header.dump() << "\n";
    }
    const auto folder = RunFolder::create(bench_.folder);
    RONDO_TRY(folder);
    folder_ = folder->path();
    for (int round = 1; round <= bench_.rounds; ++round) {
      for (const std::string& model : bench_.models) {
        std::fprintf(stderr, "rondo bench train: round %d of %d, %s\n", round, bench_.rounds, model.c_str());
        for (const size_t index : running_order(starts_.size(), round)) {
          const StartPlan& start = starts_[index];
          if (start.first_rounds > 0 && round > start.first_rounds) continue;
          const auto code = run_once(start, model, round);
          RONDO_TRY(code);
          if (*code == kExitOk) continue;
          if (!start.rival) return code;
          ++failures_[start.name];
        }
      }
    }
    return report();
  }

 private:
  Status find_starts() {
    const auto driver = find_part(kDriver);
    RONDO_TRY(driver.status());
    starts_ = {
        {.name = "rondo", .words = {*driver, "ranks"}, .processes = bench_.ranks},
        {.name = "one-worker", .words = {*driver, "one"}},
        {.name = "memory-plain", .words = {*driver, "memory-plain"}, .processes = bench_.ranks, .first_rounds = 1},
        {.name = "memory-wrapped", .words = {*driver, "memory-wrapped"}, .processes = bench_.ranks, .first_rounds = 1}};
    if (bench_.rival == TrainingBench::Rival::kNone) return {};
    const auto python = find_pytorch();
    RONDO_TRY(python.status());
    const auto script = find_part(kRivalDriver);
    if (!script.ok()) {
      return Status(Code::kResource, "PyTorch cannot be measured: its driver " + std::string(kRivalDriver) +
                                         " is not there; `./dev bench train --against pytorch` brings it");
    }
    for (const char* variant : {"view", "static"}) {
      const std::string name = std::string("pytorch-") + variant;
      starts_.push_back({.name = name,
                         .words = {*python, *script, "ranks", "--variant", variant, "--contender", name},
                         .processes = bench_.ranks,
                         .rival = true});
    }
    return {};
  }

  Result<int> run_once(const StartPlan& start, const std::string& model, int round) {
    const std::string folder = folder_ + "/round-" + std::to_string(round) + "/" + model + "-" + start.name;
    const std::string rows_file = folder + "/rows.jsonl";
    const Amount amount = amount_of(bench_, model);
    JobRequest job;
    job.program = start.words.front();
    job.arguments = start.words;
    for (const auto& [flag, value] : {std::pair<std::string, std::string>{"--model", model},
                                      {"--batch", std::to_string(amount.batch)},
                                      {"--blocks", std::to_string(amount.blocks)},
                                      {"--steps", std::to_string(amount.steps)},
                                      {"--round", std::to_string(round)},
                                      {"--json", rows_file}}) {
      job.arguments.push_back(flag);
      job.arguments.push_back(value);
    }
    job.ranks = start.processes;
    job.grace = bench_.grace;
    job.display.rank_zero = DisplayOptions::RankZero::kBare;
    job.folder = bench_.folder;
    job.folder.directory = folder;
    job.folder.log_directory.clear();
    job.folder.command = job.arguments;
    const auto code = run_job(job);
    RONDO_TRY(code);
    if (*code != kExitOk) {
      std::fprintf(stderr, "rondo bench train: %s failed on %s in round %d; what it printed is in %s/logs\n",
                   start.name.c_str(), model.c_str(), round, folder.c_str());
      return code;
    }
    std::ifstream file(rows_file);
    std::ostringstream content;
    content << file.rdbuf();
    auto rows = parse_training_rows(content.str());
    if (!rows.ok()) return rows.status().at({.operation = start.name});
    rows_.insert(rows_.end(), rows->begin(), rows->end());
    if (json_.is_open()) {
      for (const TrainingRow& row : *rows) json_ << row.json.dump() << "\n" << std::flush;
    }
    return kExitOk;
  }

  int report() {
    std::printf(
        "# %s\n# samples/s: of all ranks; of the blocks of a start the median, then the median over rounds\n"
        "# exposed: from the end of backward to the complete step record, on the slowest rank\n",
        version_line().c_str());
    for (const auto& [name, count] : failures_) std::printf("# %s failed in %d starts\n", name.c_str(), count);
    if (bench_.effort == TrainingBench::Effort::kQuick) std::printf("# --quick: no figure to quote\n");
    bool refused = false;
    for (const std::string& model : bench_.models) {
      const Amount amount = amount_of(bench_, model);
      std::printf("\n%s, %d ranks x 1 thread, batch %lld a rank, SGD, %d rounds\n%s", model.c_str(), bench_.ranks,
                  static_cast<long long>(amount.batch), bench_.rounds, training_text(rows_, model).c_str());
      if (json_.is_open()) json_ << training_json(rows_, model);
      refused = refused || !loss_differences(rows_, model).empty();
    }
    return refused ? 1 : kExitOk;
  }

  const TrainingBench& bench_;
  std::vector<StartPlan> starts_;
  std::string folder_;
  std::ofstream json_;
  std::vector<TrainingRow> rows_;
  std::map<std::string, int> failures_;  // starts, by name
};

}  // namespace

std::vector<std::string> training_models() { return {"mlp", "cnn", "resnet18", "gpt"}; }

Result<int> measure_training(const TrainingBench& bench) { return Match(bench).run(); }

}  // namespace rondo::launcher
