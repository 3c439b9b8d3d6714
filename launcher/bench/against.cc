#include "launcher/bench/against.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/bench/comparison.h"
#include "launcher/coordinator/job.h"

namespace rondo::launcher {
namespace {

using comm::Code;
using comm::Result;
using comm::Status;

constexpr const char* kHowToInstall = ": `./dev setup --rivals` installs it, and `./dev bench` builds its driver";

/// Where each contender's driver is. Also looks for the programs that start them.
Result<std::vector<std::string>> find_drivers(const std::vector<Contender>& all) {
  std::vector<std::string> paths;
  for (const Contender& contender : all) {
    const auto driver = find_part(contender.driver);
    if (!driver.ok() && contender.camp == Camp::kOurs) return driver.status();
    if (!driver.ok()) {
      return Status(Code::kResource, contender.name + " cannot be measured: its driver " + contender.driver +
                                         " is not built" + kHowToInstall);
    }
    if (!contender.starter.empty() && !find_program(contender.starter.front()).ok()) {
      return Status(Code::kResource, contender.name + " cannot be measured: " + contender.starter.front() +
                                         " is not installed" + kHowToInstall);
    }
    paths.push_back(*driver);
  }
  return paths;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

class Match {
 public:
  explicit Match(const AgainstRequest& request)
      : request_(request), contenders_(contenders(request.rivals, request.field)) {}

  Result<int> run() {
    if (contenders_.size() == 1) {
      return Status(Code::kInvalidArgument, "--against: none of these rivals has " + request_.field.operation);
    }
    auto drivers = find_drivers(contenders_);
    RONDO_TRY(drivers);
    drivers_ = *std::move(drivers);
    if (!request_.json_file.empty()) {
      json_.open(request_.json_file, std::ios::trunc);
      if (!json_) {
        return Status(Code::kInvalidArgument,
                      "--json " + request_.json_file + ": cannot write there: " + std::strerror(errno));
      }
    }
    const auto folder = RunFolder::create(request_.folder);
    RONDO_TRY(folder);
    folder_ = folder->path();
    for (int round = 1; round <= request_.rounds; ++round) {
      std::fprintf(stderr, "rondo bench: round %d of %d, %zu contenders\n", round, request_.rounds, contenders_.size());
      for (const size_t index : running_order(contenders_.size(), round)) {
        const auto code = run_once(index, round);
        RONDO_TRY(code);
        if (*code != kExitOk) return code;
      }
    }
    report();
    return kExitOk;
  }

 private:
  /// Starts one contender's processes once; they sweep all sizes.
  Result<int> run_once(size_t index, int round) {
    const Contender& contender = contenders_[index];
    const std::string folder = folder_ + "/round-" + std::to_string(round) + "/" + contender.name;
    const std::string rows_file = folder + "/rows.jsonl";
    std::vector<std::string> flags = request_.flags;
    if (contender.camp == Camp::kOurs) flags.insert(flags.end(), request_.our_flags.begin(), request_.our_flags.end());
    flags.insert(flags.end(),
                 {"--rounds", "1", "--first-round", std::to_string(round), "--quiet", "--json", rows_file});
    Start start = start_of(contender, drivers_[index], flags, request_.field.ranks);
    const auto program = find_program(start.words.front());
    RONDO_TRY(program);

    JobRequest job;
    job.program = *program;
    job.ranks = start.processes;
    job.grace = request_.grace;
    job.display.rank_zero = DisplayOptions::RankZero::kBare;
    job.folder = request_.folder;
    job.folder.directory = folder;
    job.folder.log_directory.clear();
    job.folder.command = start.words;
    job.arguments = std::move(start.words);
    const auto code = run_job(job);
    RONDO_TRY(code);
    if (*code != kExitOk) {
      std::fprintf(stderr, "rondo bench: %s failed in round %d; what it printed is in %s/logs\n",
                   contender.name.c_str(), round, folder.c_str());
      return code;
    }
    auto output = parse_output(read_text(rows_file));
    if (!output.ok()) return output.status().at({.operation = contender.name});
    if (contender.camp == Camp::kOurs && header_.is_null()) header_ = output->header;
    rows_.insert(rows_.end(), output->rows.begin(), output->rows.end());
    return kExitOk;
  }

  void report() {
    for (const auto& [key, value] : header_.items()) {
      if (key != "kind") std::printf("# %s: %s\n", key.c_str(), value.get<std::string>().c_str());
    }
    for (const Contender& contender : contenders_) {
      header_["settings"][contender.name] = settings_text(contender);
      if (contender.camp != Camp::kOurs)
        std::printf("# %s: %s\n", contender.name.c_str(), settings_text(contender).c_str());
    }
    std::printf("# p50: of the calls of a round, on the slowest rank of each call; then the median over rounds\n");
    fill_ratios(rows_, "rondo");
    if (json_.is_open()) {
      json_ << header_.dump() << "\n";
      for (const MeasuredRow& row : rows_) json_ << row.json.dump() << "\n";
    }
    for (const SizeComparison& comparison : compare(rows_, contenders_)) {
      std::printf("\n%s", comparison_text(comparison, request_.title).c_str());
      if (json_.is_open()) json_ << comparison_json(comparison, rows_);
    }
  }

  const AgainstRequest& request_;
  const std::vector<Contender> contenders_;
  std::vector<std::string> drivers_;  // a path for each contender
  std::string folder_;
  std::ofstream json_;
  nlohmann::ordered_json header_;  // of Rondo's first start
  std::vector<MeasuredRow> rows_;
};

}  // namespace

Result<int> measure_against(const AgainstRequest& request) { return Match(request).run(); }

}  // namespace rondo::launcher
