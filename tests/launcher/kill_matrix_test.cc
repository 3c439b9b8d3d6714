/// Every way for a job to be killed: the right rank is named, the right code comes out, and nothing is left.
///
/// One row of JSON a round; `./dev soak kill-matrix` runs many. A setting says where the ranks run, and workers say
/// what they are: programs that only reduce, or rondo-train as people use it. A training needs seconds to start, so it
/// has a tenth of the rounds, and in CI few of the cells.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "tests/launcher/support/events.h"
#include "tests/launcher/support/launch.h"
#include "tests/launcher/support/memory_cgroup.h"
#include "tests/support/hosts.h"
#include "tests/support/soak.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using Strings = std::vector<std::string>;

/// Where a job's ranks run. Of two hosts the culprit is on the second, and the first coordinates.
struct Setting {
  std::string name;
  int hosts, ranks_per_host, culprit;
  int ranks() const { return hosts * ranks_per_host; }
  int first_of_the_culprits_host() const { return culprit / ranks_per_host * ranks_per_host; }
};
const Setting kOneHost{.name = "one host", .hosts = 1, .ranks_per_host = 3, .culprit = 1};
const Setting kTwoHosts{.name = "two hosts", .hosts = 2, .ranks_per_host = 2, .culprit = 3};

enum class Workers { kLibTorchFree, kTrainer };
const char* name_of(Workers workers) { return workers == Workers::kTrainer ? "trainer" : "libtorch_free"; }

constexpr int kKilled = -1;  // in place of an exit code: the launcher is the one that is killed
struct End {
  std::set<int> exit_codes;  // of the launchers
  std::string verdict = {};  // what is said of the culprit; empty: nobody is to blame
};

/// One way of being killed. All of it happens once all ranks work together.
struct Cell {
  std::string name;
  End end;
  std::optional<End> end_of_training = {};         // where it is another
  Strings actions = {};                            // of a culprit without LibTorch
  Strings before = {};                             // of every rank without LibTorch, at the start
  std::function<void(pid_t)> on_training = {};     // what the test does to a culprit that trains
  std::function<void(Launch&)> strike = {};        // what the test does to a launcher
  bool strike_last = false;                        // to the second host's, which is killed by that
  int cgroup_mib = 0, cgroup_mib_of_training = 0;  // of the culprit's launcher and all that it starts; 0: none
  bool preloaded = false;                          // a training listens for sabotage.cc's signals
  bool one_host = true, quick = false;             // quick: in CI with the trainer, too
  std::string refusal = {};                        // why this build cannot have it
};

#ifdef __SANITIZE_THREAD__
constexpr bool kSeveralHosts = false;  // Debian's gRPC, between them, is not instrumented
#else
constexpr bool kSeveralHosts = true;
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr const char* kRefusesNoMemory = "a sanitizer needs more address space than any limit leaves";
#else
constexpr const char* kRefusesNoMemory = "";
#endif

void send(pid_t rank, int signal) { ::kill(rank, signal); }

/// From now on the process gets no more than a little memory.
void refuse_memory(pid_t process) {
  const std::string status = read_file("/proc/" + std::to_string(process) + "/status");
  const rlim_t used = std::strtoull(status.c_str() + status.find("VmData:") + 7, nullptr, 10) << 10;
  const rlimit limit{.rlim_cur = used + (512 << 10), .rlim_max = RLIM_INFINITY};
  EXPECT_EQ(::prlimit(process, RLIMIT_DATA, &limit, nullptr), 0);
}

void interrupt_twice(Launch& launch) {
  launch.signal(SIGINT);
  EXPECT_TRUE(launch.wait_for("rondo: 2 (SIGINT): passed on"));
  launch.signal(SIGINT);
}

const Cell kCells[] = {
    {.name = "Exit37",
     .end = {{37}, "exited with code 37"},
     .actions = {"exit=37"},
     .on_training = [](pid_t rank) { send(rank, SIGRTMIN); },
     .preloaded = true},
    {.name = "Segv",
     .end = {{139}, "killed by signal 11 (SIGSEGV)"},
     .actions = {"crash"},
     .on_training = [](pid_t rank) { send(rank, SIGSEGV); }},
    {.name = "Abort",
     .end = {{134}, "killed by signal 6 (SIGABRT)"},
     .actions = {"abort"},
     .on_training = [](pid_t rank) { send(rank, SIGABRT); }},
    {.name = "Kill",
     .end = {{137}, "killed by signal 9 (SIGKILL)"},
     .actions = {"kill"},
     .on_training = [](pid_t rank) { send(rank, SIGKILL); },
     .quick = true},
    {.name = "Stop",
     .end = {{5}, "did not answer"},
     .actions = {"stop"},
     .before = {"timeout=4000"},
     .on_training = [](pid_t rank) { send(rank, SIGSTOP); }},
    {.name = "MemoryLimit",
     .end = {{137}, "cause: out of memory: memory cgroup "},
     .actions = {"eat"},
     .on_training = [](pid_t rank) { send(rank, SIGRTMIN + 1); },
     .cgroup_mib = 128,
     .cgroup_mib_of_training = 1536,
     .preloaded = true},
    {.name = "RefusedAllocation",
     .end = {{134}, "cause: out of memory: an allocation was refused"},
     .end_of_training = End{{1}, "cause: out of memory: an allocation was refused"},
     .actions = {"limit-mib=256", "eat"},
     .on_training = refuse_memory,
     .refusal = kRefusesNoMemory},
    {.name = "LauncherKilled",
     .end = {{kKilled}},
     .before = {"ignore-term"},
     .strike = [](Launch& launch) { launch.signal(SIGKILL); }},
    {.name = "AgentOfAnotherHostKilled",
     .end = {{5}, "is lost with its host"},
     .strike = [](Launch& launch) { launch.signal(SIGKILL); },
     .strike_last = true,
     .one_host = false},
    {.name = "InterruptedTwice",
     .end = {{130}},
     .end_of_training = End{{130, 75}},  // 75: its checkpoint was there before the second signal
     .before = {"handle=2"},
     .strike = interrupt_twice},
};

constexpr milliseconds kGoneWithin{10'000};  // generous: the figure is reported, this bound only ends the test
constexpr seconds kPatience{180};            // with a training, on a busy machine

double milliseconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
}

std::set<std::string> shared_memory_of_ours() {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", error))
    if (entry.path().filename().string().find("rondo") != std::string::npos) names.insert(entry.path().filename());
  return names;
}

Strings sockets_below(const std::filesystem::path& folder) {
  Strings found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_socket()) found.push_back(entry.path());
  return found;
}

struct Case {
  Workers workers;
  const Cell* cell;
};

/// One round under way.
struct Round {
  const Setting& setting;
  const Cell& cell;
  const Workers workers;
  const TemporaryFolder folder = {};
  std::optional<Hosts> hosts = {};
  std::optional<MemoryCgroup> cgroup = {};
  std::filesystem::path run() const { return folder.path() / "run"; }
  bool trains() const { return workers == Workers::kTrainer; }
  const End& end() const { return trains() && cell.end_of_training ? *cell.end_of_training : cell.end; }
};

class KillMatrix : public testing::TestWithParam<Case> {
 protected:
  void run(const Setting& setting) {
    const auto [workers, cell] = GetParam();
    const auto [first, count] = soak_rounds(1);
    std::vector<double> left_ms;
    for (uint64_t round = first; round < first + count; ++round) {
      if (workers == Workers::kTrainer && round % 10 != 0) continue;
      SCOPED_TRACE(setting.name + ", " + cell->name + ", round " + std::to_string(round));
      left_ms.push_back(play(setting, round));
      if (HasFailure()) break;
    }
    print_samples("kill_matrix_" + std::string(name_of(workers)) + "_" + std::to_string(setting.hosts) + "_" +
                      cell->name + "_gone_ms",
                  left_ms);
  }

 private:
  static Strings words_of_ranks(const Round& now) {
    Strings words;
    const auto add = [&words](const Strings& more) { words.insert(words.end(), more.begin(), more.end()); };
    if (!now.trains()) {
      add({RONDO_TEST_WORKER});
      add(now.cell.before);
      add({"join", "reduce=1000", "out=ready"});
      for (const std::string& action : now.cell.actions) add({std::to_string(now.setting.culprit) + ":" + action});
      add(now.cell.strike ? Strings{"wait"} : Strings{"reduce=1000", "leave"});
      return words;
    }
#ifdef RONDO_TRAINER
    // Large tensors come from the kernel one by one, so that each step asks for memory anew.
    add({"/usr/bin/env", "MALLOC_MMAP_THRESHOLD_=131072"});
    if (now.cell.preloaded) add({"LD_PRELOAD=" RONDO_SABOTAGE});
    add({RONDO_TRAINER, "fmnist-cnn", "epochs=10000", "batch=32", "threads=1",
         "data=" + (now.folder.path() / "data").string()});
#endif
    return words;
  }

  static std::unique_ptr<Launch> start(const Round& now, int host) {
    const Setting& setting = now.setting;
    const auto& folder = now.folder.path();
    Strings arguments{"run", "--run-dir", "run", "--grace", "3", "-n", std::to_string(setting.ranks_per_host)};
    const auto add = [&arguments](const Strings& more) { arguments.insert(arguments.end(), more.begin(), more.end()); };
    if (now.hosts)
      add({"--nnodes", std::to_string(setting.hosts), "--node-rank", std::to_string(host), "--rdzv-endpoint",
           now.hosts->ipv4(0, 0) + ":29400", "--secret-file", "secret"});
    add(words_of_ranks(now));
    Launch::Options options{.environment = {{"TMPDIR", folder.string()}}, .folder = folder};
    if (now.hosts) options.environment["RONDO_HOST_ID"] = "host-" + std::to_string(host);
    if (now.cgroup && setting.culprit / setting.ranks_per_host == host) {
      options.program = "/bin/sh";
      arguments.insert(arguments.begin(),
                       {"-c", "echo $$ > " + now.cgroup->join_file() + " && exec \"$0\" \"$@\"", RONDO_PROGRAM});
    }
    if (now.hosts) {
      auto on = now.hosts->on(host, {.program = options.program, .arguments = arguments, .environment = {}});
      options.program = on.program;
      arguments = std::move(on.arguments);
    }
    return std::make_unique<Launch>(arguments, options);
  }

  /// Waits until all ranks work together: a step is one of all ranks.
  static void wait_until_at_work(const Round& now, Launch& launch) {
    if (now.trains()) {
      const auto steps = [&] {
        const std::string metrics = read_file(now.run() / "metrics.jsonl");
        return metrics.find("\"kind\":\"step\",\"step\":3,") != std::string::npos;
      };
      EXPECT_TRUE(eventually(kPatience, steps)) << "no step is done\n" << launch.so_far().errors;
    } else if (now.cell.strike) {
      for (int rank = 0; rank < now.setting.ranks(); ++rank)
        EXPECT_TRUE(launch.wait_for("[rank " + std::to_string(rank) + "] ready")) << launch.so_far().errors;
    }
  }

  /// Does to a launcher, or to the culprit that trains, what the cell is about.
  static void strike(const Round& now, std::vector<std::unique_ptr<Launch>>& launches) {
    if (now.cell.strike) {
      for (const auto& [rank, pid] : pid_by_rank(now.run())) EXPECT_TRUE(process_lives(pid)) << "rank " << rank;
      now.cell.strike(now.cell.strike_last ? *launches.back() : *launches.front());
    } else if (now.trains()) {
      const auto pids = pid_by_rank(now.run());
      const auto culprit = pids.find(now.setting.culprit);
      ASSERT_NE(culprit, pids.end());
      now.cell.on_training(culprit->second);
    }
  }

  /// What failure.json says. Returns who is named.
  static int expect_right_culprit(const Round& now, const std::string& errors) {
    EXPECT_THAT(errors, testing::HasSubstr(now.end().verdict));
    const json failure = json::parse(read_file(now.run() / "failure.json"), nullptr, false);
    if (!failure.is_object()) {
      ADD_FAILURE() << "no failure.json\n" << errors;
      return -1;
    }
    const int named = failure["rank"].get<int>();
    // A cgroup that is full may cost more than one rank its life: then any of these is to blame.
    const bool several = failure["cause"].get<std::string>().find(" processes in it") != std::string::npos;
    const int first_there = now.setting.first_of_the_culprits_host();
    EXPECT_TRUE(several || named == (now.cell.strike_last ? first_there : now.setting.culprit))
        << named << " was named\n"
        << errors;
    if (!now.trains()) return named;
    for (const json& rank : failure["ranks"]) {
      // What ranks of another host did is known if its agent is there to send it.
      EXPECT_THAT(rank["doing"].dump(), testing::ContainsRegex("bucket [0-9]+ |step [0-9]+|requests|host .* is lost"))
          << rank;
    }
    return named;
  }

  /// Milliseconds from the end of the launcher, or from its kill, until no rank is left.
  double play(const Setting& setting, uint64_t round) {
    const auto [workers, cell_of_case] = GetParam();
    const Cell& cell = *cell_of_case;
    const int mib = workers == Workers::kTrainer ? cell.cgroup_mib_of_training : cell.cgroup_mib;
    Round now{.setting = setting,
              .cell = cell,
              .workers = workers,
              .cgroup = mib > 0 ? MemoryCgroup::make(static_cast<uint64_t>(mib) << 20) : std::nullopt};
    EXPECT_EQ(now.cgroup.has_value(), mib > 0);
    const std::set<std::string> shared_before = shared_memory_of_ours();
    const auto begin = steady_clock::now();
#ifdef RONDO_TRAINER
    if (now.trains()) {
      EXPECT_EQ(Launch({(now.folder.path() / "data").string(), "4000", "610"}, {.program = RONDO_SMALL_DATASET})
                    .wait()
                    .exit_code,
                0);
    }
#endif
    if (setting.hosts > 1) {
      EXPECT_EQ(Hosts::refusal(), "");
      EXPECT_EQ(run_rondo({"secret", "new", "secret"}, {.environment = {}, .folder = now.folder.path()}).exit_code, 0);
      now.hosts.emplace(setting.hosts);
      now.hosts->connect({.first = 0, .second = 1});
    }
    std::vector<std::unique_ptr<Launch>> launches;
    for (int host = 0; host < setting.hosts; ++host) launches.push_back(start(now, host));
    Launch& launch = *launches.front();
    wait_until_at_work(now, launch);
    strike(now, launches);

    const bool launcher_dies = now.end().exit_codes.contains(kKilled);
    auto ended = steady_clock::now();
    const auto early = pid_by_rank(now.run());
    Outcome outcome;
    if (!launcher_dies) {
      outcome = launch.wait(kPatience);
      ended = steady_clock::now();
    }
    const auto pids = launcher_dies ? early : pid_by_rank(now.run());
    EXPECT_EQ(pids.size(), static_cast<size_t>(setting.ranks()));
    const auto gone = [&] {
      return std::none_of(pids.begin(), pids.end(), [](const auto& rank) { return process_lives(rank.second); });
    };
    EXPECT_TRUE(eventually(kGoneWithin, gone)) << "ranks outlive the launcher";
    const double left_ms = milliseconds_since(ended);
    if (launcher_dies) outcome = launch.wait();

    EXPECT_TRUE(now.end().exit_codes.contains(outcome.exit_code)) << outcome.exit_code << "\n" << outcome.errors;
    if (launcher_dies) {
      EXPECT_EQ(outcome.signal, SIGKILL);
    }
    if (setting.hosts > 1 && !cell.strike_last) {
      EXPECT_EQ(launches.back()->wait().exit_code, launcher_dies ? 5 : outcome.exit_code)
          << "the other host's launcher";
    }
    int named = -1;
    if (!now.end().verdict.empty()) {
      named = expect_right_culprit(now, outcome.errors);
    } else {
      EXPECT_FALSE(std::filesystem::exists(now.run() / "failure.json"));
    }
    EXPECT_THAT(sockets_below(now.folder.path()), testing::IsEmpty());
    EXPECT_TRUE(eventually(kGoneWithin, [&] {  // tests beside this one come and go
      for (const std::string& name : shared_memory_of_ours())
        if (!shared_before.contains(name)) return false;
      return true;
    })) << "something stays in /dev/shm";
    const json row{{"workers", name_of(now.workers)},
                   {"setting", setting.name},
                   {"cell", cell.name},
                   {"round", round},
                   {"exit_code", outcome.exit_code},
                   {"culprit", named},
                   {"gone_ms", left_ms},
                   {"whole_ms", milliseconds_since(begin)}};
    std::printf("%s\n", row.dump().c_str());
    return left_ms;
  }
};

TEST_P(KillMatrix, NamesTheCulpritAndLeavesNothing) {
  const Cell& cell = *GetParam().cell;
  if (!cell.refusal.empty()) GTEST_SKIP() << cell.refusal;
  if (!cell.one_host && !kSeveralHosts) GTEST_SKIP() << "the thread sanitizer cannot see through Debian's gRPC";
  if (cell.cgroup_mib > 0 && !MemoryCgroup::make(1 << 30)) GTEST_SKIP() << "no memory cgroup can be made here";
  if (cell.one_host) run(kOneHost);
  if (kSeveralHosts) run(kTwoHosts);
}

/// In CI those of the trainer that are quick.
std::vector<Case> cases(Workers workers) {
  const bool all = workers == Workers::kLibTorchFree || soak_rounds(0).count > 0;
  std::vector<Case> found;
  for (const Cell& cell : kCells)
    if (all || cell.quick) found.push_back({.workers = workers, .cell = &cell});
  return found;
}

std::string name_of_case(const testing::TestParamInfo<Case>& info) { return info.param.cell->name; }

INSTANTIATE_TEST_SUITE_P(LibTorchFree, KillMatrix, testing::ValuesIn(cases(Workers::kLibTorchFree)), name_of_case);
#ifdef RONDO_TRAINER
INSTANTIATE_TEST_SUITE_P(Trainer, KillMatrix, testing::ValuesIn(cases(Workers::kTrainer)), name_of_case);
#endif

}  // namespace
}  // namespace rondo::test
