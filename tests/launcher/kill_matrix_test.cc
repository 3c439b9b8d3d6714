/// Every way for a job to be killed: the right rank is named, the right code comes out, and nothing is left.
///
/// One row of JSON a round; `./dev soak kill-matrix` runs many. A setting says where the ranks run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/launcher/support/events.h"
#include "tests/launcher/support/launch.h"
#include "tests/launcher/support/memory_cgroup.h"
#include "tests/support/soak.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Strings = std::vector<std::string>;

/// Where a job's ranks run.
struct Setting {
  std::string name;
  Strings flags;
  int ranks = 3, culprit = 1;
};
const Setting kOneHost{.name = "one host", .flags = {"-n", "3"}};

/// One way of being killed.
struct Cell {
  std::string name;
  Strings actions;                           // of the culprit, once all ranks work together
  int exit_code = 0;                         // of the launcher; -1: it is the one that is killed
  std::string verdict;                       // what is said of the culprit; empty: nobody is to blame
  Strings before = {};                       // of every rank, at the start
  std::string cgroup = {};                   // file by which the launcher enters one
  std::function<void(Launch&)> strike = {};  // what the test does to the launcher when all are ready
};

constexpr milliseconds kGoneWithin{10'000};  // generous: the figure is reported, this bound only ends the test

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

class KillMatrix : public testing::Test {
 protected:
  void run(const Setting& setting, const Cell& cell) {
    const auto [first, count] = soak_rounds(1);
    std::vector<double> left_ms;
    for (uint64_t round = first; round < first + count; ++round) {
      SCOPED_TRACE(setting.name + ", " + cell.name + ", round " + std::to_string(round));
      left_ms.push_back(play(setting, cell, round));
      if (HasFailure()) break;
    }
    print_samples("kill_matrix_" + cell.name + "_gone_ms", left_ms);
  }

 private:
  /// Milliseconds from the end of the launcher, or from its kill, until no rank is left.
  double play(const Setting& setting, const Cell& cell, uint64_t round) {
    const TemporaryFolder folder;
    const auto run = folder.path() / "run";
    const std::set<std::string> shared_before = shared_memory_of_ours();
    Strings arguments{"run", "--run-dir", "run"};
    const auto add = [&arguments](const Strings& more) { arguments.insert(arguments.end(), more.begin(), more.end()); };
    add(setting.flags);
    add({RONDO_TEST_WORKER});
    add(cell.before);
    add({"join", "reduce=1000", "out=ready"});
    for (const std::string& action : cell.actions) add({std::to_string(setting.culprit) + ":" + action});
    add(cell.strike ? Strings{"wait"} : Strings{"reduce=1000", "leave"});
    const auto begin = steady_clock::now();
    Launch::Options options{.environment = {{"TMPDIR", folder.path().string()}}, .folder = folder.path()};
    if (!cell.cgroup.empty()) {
      options.program = "/bin/sh";
      arguments.insert(arguments.begin(), {"-c", "echo $$ > " + cell.cgroup + " && exec \"$0\" \"$@\"", RONDO_PROGRAM});
    }
    Launch launch(arguments, options);
    if (cell.strike) {
      for (int rank = 0; rank < setting.ranks; ++rank)
        EXPECT_TRUE(launch.wait_for("[rank " + std::to_string(rank) + "] ready"));
      for (const pid_t pid : pids_of(run)) EXPECT_TRUE(process_lives(pid));
      cell.strike(launch);
    }
    const bool launcher_dies = cell.exit_code < 0;
    auto ended = steady_clock::now();
    const std::vector<pid_t> early = pids_of(run);
    Outcome outcome;
    if (!launcher_dies) {
      outcome = launch.wait();
      ended = steady_clock::now();
    }
    const std::vector<pid_t> pids = launcher_dies ? early : pids_of(run);
    EXPECT_EQ(pids.size(), static_cast<size_t>(setting.ranks));
    const auto gone = [&] { return std::none_of(pids.begin(), pids.end(), process_lives); };
    EXPECT_TRUE(eventually(kGoneWithin, gone)) << "ranks outlive the launcher";
    const double left_ms = milliseconds_since(ended);
    if (launcher_dies) outcome = launch.wait();

    EXPECT_EQ(outcome.exit_code, cell.exit_code) << outcome.errors;
    if (cell.exit_code < 0) EXPECT_EQ(outcome.signal, SIGKILL);
    int named = -1;
    if (!cell.verdict.empty()) {
      EXPECT_THAT(outcome.errors, testing::HasSubstr(cell.verdict));
      const json failure = json::parse(read_file(run / "failure.json"), nullptr, false);
      if (failure.is_object()) named = failure["rank"].get<int>();
      EXPECT_EQ(named, setting.culprit) << outcome.errors;
    } else {
      EXPECT_FALSE(std::filesystem::exists(run / "failure.json"));
    }
    EXPECT_THAT(sockets_below(folder.path()), testing::IsEmpty());
    EXPECT_TRUE(eventually(kGoneWithin, [&] {  // tests beside this one come and go
      for (const std::string& name : shared_memory_of_ours())
        if (!shared_before.contains(name)) return false;
      return true;
    })) << "something stays in /dev/shm";
    const json row{{"setting", setting.name},
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

TEST_F(KillMatrix, Exit37) {
  run(kOneHost, {.name = "exit", .actions = {"exit=37"}, .exit_code = 37, .verdict = "exited with code 37"});
}

TEST_F(KillMatrix, Segv) {
  run(kOneHost, {.name = "segv", .actions = {"crash"}, .exit_code = 139, .verdict = "killed by signal 11 (SIGSEGV)"});
}

TEST_F(KillMatrix, Abort) {
  run(kOneHost, {.name = "abort", .actions = {"abort"}, .exit_code = 134, .verdict = "killed by signal 6 (SIGABRT)"});
}

TEST_F(KillMatrix, Kill) {
  run(kOneHost, {.name = "kill", .actions = {"kill"}, .exit_code = 137, .verdict = "killed by signal 9 (SIGKILL)"});
}

TEST_F(KillMatrix, Stop) {
  run(kOneHost,
      {.name = "stop", .actions = {"stop"}, .exit_code = 5, .verdict = "did not answer", .before = {"timeout=1000"}});
}

TEST_F(KillMatrix, MemoryLimit) {
  const auto group = MemoryCgroup::make(128 << 20);
  if (!group) GTEST_SKIP() << "no memory cgroup can be made here";
  run(kOneHost, {.name = "memory",
                 .actions = {"eat"},
                 .exit_code = 137,
                 .verdict = "cause: out of memory: memory cgroup ",
                 .cgroup = group->join_file()});
}

TEST_F(KillMatrix, RefusedAllocation) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs more address space than any limit leaves";
#endif
  run(kOneHost, {.name = "allocation",
                 .actions = {"limit-mib=256", "eat"},
                 .exit_code = 134,
                 .verdict = "cause: out of memory: an allocation was refused"});
}

TEST_F(KillMatrix, LauncherKilled) {
  run(kOneHost, {.name = "launcher",
                 .actions = {},
                 .exit_code = -1,
                 .verdict = "",
                 .before = {"ignore-term"},
                 .strike = [](Launch& launch) { launch.signal(SIGKILL); }});
}

TEST_F(KillMatrix, InterruptedTwice) {
  run(kOneHost, {.name = "interrupt",
                 .actions = {},
                 .exit_code = 130,
                 .verdict = "",
                 .before = {"handle=2"},
                 .strike = [](Launch& launch) {
                   launch.signal(SIGINT);
                   EXPECT_TRUE(launch.wait_for("rondo: 2 (SIGINT): passed on"));
                   launch.signal(SIGINT);
                 }});
}

}  // namespace
}  // namespace rondo::test
