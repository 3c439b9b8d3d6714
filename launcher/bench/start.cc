#include "launcher/bench/start.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "launcher/agent/meeting_point.h"
#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/version.h"
#include "launcher/bench/child.h"
#include "launcher/bench/contenders.h"
#include "launcher/bench/first_instructions.h"

namespace rondo::launcher {
namespace {

using comm::Code;
using comm::Result;
using comm::Status;

constexpr const char* kTrainer = "rondo-train-bench";
constexpr const char* kRivalTrainer = "rondo-bench-pytorch";
constexpr const char* kProbe = "rondo-start-probe";
constexpr const char* kEagerSeconds = "0.01";    // torchrun looks at its ranks every 0.1 s by itself
constexpr std::chrono::minutes kStartWithin{5};  // on a loaded machine torchrun alone may take half a minute

double milliseconds_between(comm::TimePoint from, comm::TimePoint to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

struct Contender {
  std::string name;
  std::vector<std::string> words;  // the launcher, and its first flags
  bool rival = false;
  bool restarts_only = false;  // a setting that makes no other case faster
};

/// torchrun of the Python that has PyTorch: RONDO_PYTHON's, else the one in PATH.
Result<std::vector<std::string>> find_torchrun() {
  if (const char* python = std::getenv("RONDO_PYTHON"); python != nullptr && *python != '\0') {
    const auto program = find_program(python);
    RONDO_TRY(program);
    return std::vector<std::string>{*program, "-m", "torch.distributed.run"};
  }
  const auto program = find_program("torchrun");
  RONDO_TRY(program);
  return std::vector<std::string>{*program};
}

std::string first_words(const std::string& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line, '\0');
  return line.substr(0, line.find('\n'));
}

void append(std::vector<std::string>& to, const std::vector<std::string>& words) {
  to.insert(to.end(), words.begin(), words.end());
}

class Match {
 public:
  explicit Match(const StartBench& bench) : bench_(bench) {}

  Result<int> run() {
    RONDO_TRY(find_parts());
    if (!bench_.json_file.empty()) {
      json_.open(bench_.json_file, std::ios::trunc);
      if (!json_) {
        return Status(Code::kInvalidArgument,
                      "--json " + bench_.json_file + ": cannot write there: " + std::strerror(errno));
      }
    }
    const auto folder = RunFolder::create(bench_.folder);
    RONDO_TRY(folder);
    folder_ = folder->path();
    ::setenv("OMP_NUM_THREADS", "1", 0);  // of every contender: one thread a rank
    write_header();
    for (int round = 1; round <= bench_.rounds; ++round) {
      for (const StartCase what : bench_.cases) {
        std::fprintf(stderr, "rondo bench start: round %d of %d, %s\n", round, bench_.rounds, name_of(what));
        for (const size_t index : running_order(contenders_.size(), round)) {
          const Contender& contender = contenders_[index];
          if (left_out_.contains({what, contender.rival})) continue;
          if (contender.restarts_only && what != StartCase::kRestart) continue;
          const Status ran = measure(what, contender, round);
          if (ran.ok()) continue;
          std::fprintf(stderr, "rondo bench start: %s, %s, round %d: %s\n", contender.name.c_str(), name_of(what),
                       round, ran.message().c_str());
          if (!contender.rival) return 1;
          ++failures_[contender.name + ", " + name_of(what)];
        }
      }
    }
    return report();
  }

 private:
  Status find_parts() {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) return {Code::kIo, "cannot read /proc/self/exe: " + error.message()};
    contenders_.push_back({.name = "rondo", .words = {self.string(), "run"}});
    const auto probe = find_part(kProbe);
    RONDO_TRY(probe.status());
    probe_ = *probe;
    const auto nothing = find_program("true");
    RONDO_TRY(nothing.status());
    nothing_ = *nothing;
    const auto trainer = find_part(kTrainer);
    trainer_ = trainer.ok() ? *trainer : "";
    if (trainer_.empty()) {
      left_out_[{StartCase::kFirstStep, false}] =
          std::string(kTrainer) + " is not in this build: `./dev bench start` brings it";
    }
    if (bench_.rival == StartBench::Rival::kNone) return {};
    const auto torchrun = find_torchrun();
    if (!torchrun.ok()) {
      notes_.push_back("torchrun is not measured (" + torchrun.status().message() +
                       "): `./dev setup --pytorch` installs it, and `./dev bench start --against torchrun` finds it "
                       "there; RONDO_PYTHON names another Python that has torch");
      return {};
    }
    contenders_.push_back({.name = "torchrun", .words = *torchrun, .rival = true});
    Contender eager{.name = "torchrun-eager", .words = *torchrun, .rival = true, .restarts_only = true};
    append(eager.words, {"--monitor-interval", kEagerSeconds});
    contenders_.push_back(std::move(eager));
    const auto rival_trainer = find_part(kRivalTrainer);
    rival_trainer_ = rival_trainer.ok() ? *rival_trainer : "";
    if (rival_trainer_.empty()) {
      left_out_[{StartCase::kFirstStep, true}] =
          std::string(kRivalTrainer) + " is not in this build: `./dev bench start --against torchrun` brings it";
    }
    return {};
  }

  void write_header() {
    std::ifstream load_file("/proc/loadavg");
    std::string load;
    std::getline(load_file, load);
    const auto header = nlohmann::ordered_json::parse(version_json());
    header_ = nlohmann::ordered_json{
        {"kind", "header"},
        {"bench", "start"},
        {"version", header["version"]},
        {"commit", header["commit"]},
        {"build", header["build_type"]},
        {"cores", std::thread::hardware_concurrency()},
        {"load", load},
        {"torchrun", "a free --master-port of 127.0.0.1, OMP_NUM_THREADS=1"},
        {"torchrun-eager", std::string("also --monitor-interval ") + kEagerSeconds + ", for restarts"}};
    if (json_.is_open()) json_ << header_.dump() << "\n";
  }

  /// The command of a start, and where its output goes.
  struct Start {
    std::vector<std::string> words;
    std::string folder, log_file, rows_file;
  };
  Result<Start> start_of(StartCase what, const Contender& contender, int round) const {
    Start start{.words = contender.words,
                .folder = folder_ + "/round-" + std::to_string(round) + "/" + name_of(what) + "-" + contender.name,
                .log_file = {},
                .rows_file = {}};
    start.log_file = start.folder + ".log";
    start.rows_file = start.folder + ".jsonl";
    RONDO_TRY(RunFolder::make_parent_of(start.log_file));
    append(start.words, {"--nproc-per-node", std::to_string(bench_.ranks)});
    if (contender.rival) {
      const auto port = hold_port({.address = "127.0.0.1", .port = 0});
      RONDO_TRY(port.status());
      append(start.words, {"--master-addr", "127.0.0.1", "--master-port", std::to_string(port->port)});
    } else {
      append(start.words, {"--run-dir", start.folder});
    }
    if (what == StartCase::kRestart) append(start.words, {"--max-restarts", "1"});
    // A script runs in torchrun's own Python; everything else is executed as it is.
    if (contender.rival && what != StartCase::kFirstStep) start.words.emplace_back("--no-python");
    return start;
  }

  Status measure(StartCase what, const Contender& contender, int round) {
    auto start = start_of(what, contender, round);
    RONDO_TRY(start.status());
    StartRow row{.what = what, .contender = contender.name, .round = round, .ranks = bench_.ranks, .ms = 0, .loss = {}};
    Status done;
    switch (what) {
      case StartCase::kEmpty:
        done = measure_empty(*start, row);
        break;
      case StartCase::kRestart:
        done = measure_restart(*start, row);
        break;
      case StartCase::kFirstStep:
        done = measure_first_step(*start, contender, row);
        break;
    }
    if (!done.ok()) return {done.code(), done.message() + "; what it printed is in " + start->log_file};
    rows_.push_back(row);
    if (json_.is_open()) json_ << row_json(row).dump() << "\n" << std::flush;
    return {};
  }

  static Result<comm::TimePoint> end_of(Child& child) {
    const auto end = child.wait(comm::after(kStartWithin));
    RONDO_TRY(end);
    if (end->exit_code != kExitOk)
      return Status(Code::kResource, "ended with exit code " + std::to_string(end->exit_code));
    return end->at;
  }

  Status measure_empty(Start& start, StartRow& row) const {
    start.words.push_back(nothing_);
    auto child = Child::start(start.words, start.log_file);
    RONDO_TRY(child.status());
    const auto end = end_of(*child);
    RONDO_TRY(end.status());
    row.ms = milliseconds_between(child->started_at(), *end);
    return {};
  }

  Status measure_restart(Start& start, StartRow& row) const {
    auto instructions = FirstInstructions::open();
    RONDO_TRY(instructions.status());
    append(start.words, {probe_, instructions->name()});
    auto child = Child::start(start.words, start.log_file);
    RONDO_TRY(child.status());
    const auto first = instructions->wait(0, bench_.ranks, child->process(), comm::after(kStartWithin));
    RONDO_TRY(first.status());
    const auto& victim = *first->rbegin();
    const comm::TimePoint killed_at = comm::Clock::now();
    if (::kill(victim.second.pid, SIGKILL) != 0)
      return system_error("cannot kill rank " + std::to_string(victim.first) + " (pid " +
                          std::to_string(victim.second.pid) + ")");
    const auto second = instructions->wait(1, bench_.ranks, child->process(), comm::after(kStartWithin));
    RONDO_TRY(second.status());
    for (const auto& [rank, seen] : *second) row.ms = std::max(row.ms, milliseconds_between(killed_at, seen.at));
    return end_of(*child).status();
  }

  Status measure_first_step(Start& start, const Contender& contender, StartRow& row) const {
    append(start.words, {contender.rival ? rival_trainer_ : trainer_, "first-step", "--model", bench_.model, "--batch",
                         bench_.effort == StartBench::Effort::kQuick ? "4" : "64", "--json", start.rows_file});
    auto child = Child::start(start.words, start.log_file);
    RONDO_TRY(child.status());
    const auto end = end_of(*child);
    RONDO_TRY(end.status());
    const std::string line = first_words(start.rows_file);
    try {
      const auto said = nlohmann::json::parse(line);
      const comm::TimePoint at{std::chrono::nanoseconds(said.at("first_step_ns").get<int64_t>())};
      row.ms = milliseconds_between(child->started_at(), at);
      row.loss = said.at("loss").is_null() ? NAN : said.at("loss").get<double>();
    } catch (const nlohmann::json::exception& error) {
      return {Code::kCorrupt, "not a row of a benchmark: " + line + " (" + error.what() + ")"};
    }
    if (row.ms <= 0) return {Code::kCorrupt, "its first step lies before its start: " + line};
    return {};
  }

  int report() {
    std::printf("# %s\n", version_line().c_str());
    for (const char* key : {"cores", "load", "torchrun", "torchrun-eager"})
      std::printf("# %s: %s\n", key,
                  header_[key].is_string() ? header_[key].get<std::string>().c_str() : header_[key].dump().c_str());
    for (const std::string& note : notes_) std::printf("# %s\n", note.c_str());
    for (const auto& [where, why] : left_out_) {
      if (std::ranges::count(bench_.cases, where.first) > 0)
        std::printf("# %s is left out: %s\n", name_of(where.first), why.c_str());
    }
    for (const auto& [name, count] : failures_) std::printf("# %s failed in %d starts\n", name.c_str(), count);
    if (bench_.effort == StartBench::Effort::kQuick) std::printf("# --quick: no figure to quote\n");
    for (const StartCase what : bench_.cases) {
      std::printf("\n%d ranks%s, %s", bench_.ranks, what == StartCase::kFirstStep ? (", " + bench_.model).c_str() : "",
                  start_text(rows_, what).c_str());
      if (json_.is_open()) json_ << start_json(rows_, what);
    }
    return first_step_differences(rows_).empty() ? kExitOk : 1;
  }

  const StartBench& bench_;
  std::string probe_, nothing_, trainer_, rival_trainer_;  // paths; empty: not there
  std::vector<Contender> contenders_;
  std::map<std::pair<StartCase, bool>, std::string> left_out_;  // by case and whether a rival's, with the reason
  std::vector<std::string> notes_;
  std::string folder_;
  std::ofstream json_;
  nlohmann::ordered_json header_;
  std::vector<StartRow> rows_;
  std::map<std::string, int> failures_;  // starts
};

}  // namespace

Result<int> measure_start(const StartBench& bench) { return Match(bench).run(); }

}  // namespace rondo::launcher
