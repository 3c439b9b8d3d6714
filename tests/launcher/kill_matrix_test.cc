/// Every way for a job to be killed: the right rank is named, the right code comes out, and nothing is left.
///
/// One row of JSON a round; `./dev soak kill-matrix` runs many. A setting says where the ranks run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <functional>
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
using std::chrono::steady_clock;
using Strings = std::vector<std::string>;

/// Where a job's ranks run. Of two hosts the culprit is on the second, and the first coordinates.
struct Setting {
  std::string name;
  int hosts, ranks_per_host, culprit;
  int ranks() const { return hosts * ranks_per_host; }
};
const Setting kOneHost{.name = "one host", .hosts = 1, .ranks_per_host = 3, .culprit = 1};
const Setting kTwoHosts{.name = "two hosts", .hosts = 2, .ranks_per_host = 2, .culprit = 3};

/// One way of being killed.
struct Cell {
  std::string name;
  Strings actions;                           // of the culprit, once all ranks work together
  int exit_code = 0;                         // of the launchers; -1: the first is the one that is killed
  std::string verdict;                       // what is said of the culprit; empty: nobody is to blame
  Strings before = {};                       // of every rank, at the start
  std::string cgroup = {};                   // file by which the culprit's launcher enters one
  std::function<void(Launch&)> strike = {};  // what the test does to a launcher when all are ready
  bool strike_last = false;                  // to the second host's, which is killed by that
};

#ifdef __SANITIZE_THREAD__
constexpr bool kSeveralHosts = false;  // Debian's gRPC, between them, is not instrumented
#else
constexpr bool kSeveralHosts = true;
#endif
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
  void run_everywhere(const Cell& cell) {
    run(kOneHost, cell);
    if (kSeveralHosts) run(kTwoHosts, cell);
  }
  void run(const Setting& setting, const Cell& cell) {
    const auto [first, count] = soak_rounds(1);
    std::vector<double> left_ms;
    for (uint64_t round = first; round < first + count; ++round) {
      SCOPED_TRACE(setting.name + ", " + cell.name + ", round " + std::to_string(round));
      left_ms.push_back(play(setting, cell, round));
      if (HasFailure()) break;
    }
    print_samples("kill_matrix_" + std::to_string(setting.hosts) + "_" + cell.name + "_gone_ms", left_ms);
  }

 private:
  static std::unique_ptr<Launch> start(const Setting& setting, const Cell& cell, const Hosts* hosts, int host,
                                       const std::filesystem::path& folder, bool culprits) {
    Strings arguments{"run", "--run-dir", "run", "--grace", "3", "-n", std::to_string(setting.ranks_per_host)};
    const auto add = [&arguments](const Strings& more) { arguments.insert(arguments.end(), more.begin(), more.end()); };
    if (hosts != nullptr)
      add({"--nnodes", std::to_string(setting.hosts), "--node-rank", std::to_string(host), "--rdzv-endpoint",
           hosts->ipv4(0, 0) + ":29400", "--secret-file", "secret"});
    add({RONDO_TEST_WORKER});
    add(cell.before);
    add({"join", "reduce=1000", "out=ready"});
    for (const std::string& action : cell.actions) add({std::to_string(setting.culprit) + ":" + action});
    add(cell.strike ? Strings{"wait"} : Strings{"reduce=1000", "leave"});
    Launch::Options options{.environment = {{"TMPDIR", folder.string()}}, .folder = folder};
    if (hosts != nullptr) options.environment["RONDO_HOST_ID"] = "host-" + std::to_string(host);
    if (!cell.cgroup.empty() && culprits) {
      options.program = "/bin/sh";
      arguments.insert(arguments.begin(), {"-c", "echo $$ > " + cell.cgroup + " && exec \"$0\" \"$@\"", RONDO_PROGRAM});
    }
    if (hosts != nullptr) {
      auto on = hosts->on(host, {.program = options.program, .arguments = arguments, .environment = {}});
      options.program = on.program;
      arguments = std::move(on.arguments);
    }
    return std::make_unique<Launch>(arguments, options);
  }

  /// Milliseconds from the end of the launcher, or from its kill, until no rank is left.
  double play(const Setting& setting, const Cell& cell, uint64_t round) {
    const TemporaryFolder folder;
    const auto run = folder.path() / "run";
    const std::set<std::string> shared_before = shared_memory_of_ours();
    const auto begin = steady_clock::now();
    std::optional<Hosts> hosts;
    if (setting.hosts > 1) {
      EXPECT_EQ(Hosts::refusal(), "");
      EXPECT_EQ(run_rondo({"secret", "new", "secret"}, {.environment = {}, .folder = folder.path()}).exit_code, 0);
      hosts.emplace(setting.hosts);
      hosts->connect({.first = 0, .second = 1});
    }
    std::vector<std::unique_ptr<Launch>> launches;
    for (int host = 0; host < setting.hosts; ++host) {
      const bool culprits = setting.culprit / setting.ranks_per_host == host;
      launches.push_back(start(setting, cell, hosts ? &*hosts : nullptr, host, folder.path(), culprits));
    }
    Launch& launch = *launches.front();
    if (cell.strike) {
      for (int rank = 0; rank < setting.ranks(); ++rank)
        EXPECT_TRUE(launch.wait_for("[rank " + std::to_string(rank) + "] ready")) << launch.so_far().errors;
      for (const pid_t pid : pids_of(run)) EXPECT_TRUE(process_lives(pid));
      cell.strike(cell.strike_last ? *launches.back() : launch);
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
    EXPECT_EQ(pids.size(), static_cast<size_t>(setting.ranks()));
    const auto gone = [&] { return std::none_of(pids.begin(), pids.end(), process_lives); };
    EXPECT_TRUE(eventually(kGoneWithin, gone)) << "ranks outlive the launcher";
    const double left_ms = milliseconds_since(ended);
    if (launcher_dies) outcome = launch.wait();

    EXPECT_EQ(outcome.exit_code, cell.exit_code) << outcome.errors;
    if (cell.exit_code < 0) {
      EXPECT_EQ(outcome.signal, SIGKILL);
    }
    if (setting.hosts > 1 && !cell.strike_last) {
      EXPECT_EQ(launches.back()->wait().exit_code, launcher_dies ? 5 : cell.exit_code) << "the other host's launcher";
    }
    int named = -1;
    if (!cell.verdict.empty()) {
      EXPECT_THAT(outcome.errors, testing::HasSubstr(cell.verdict));
      const json failure = json::parse(read_file(run / "failure.json"), nullptr, false);
      if (failure.is_object()) named = failure["rank"].get<int>();
      // A cgroup that is full may cost more than one rank its life: then any of these is to blame.
      const bool several =
          failure.is_object() && failure["cause"].get<std::string>().find(" processes in it") != std::string::npos;
      const int expected =
          cell.strike_last ? setting.culprit / setting.ranks_per_host * setting.ranks_per_host : setting.culprit;
      EXPECT_TRUE(several || named == expected) << named << " was named\n" << outcome.errors;
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
  run_everywhere({.name = "exit", .actions = {"exit=37"}, .exit_code = 37, .verdict = "exited with code 37"});
}

TEST_F(KillMatrix, Segv) {
  run_everywhere({.name = "segv", .actions = {"crash"}, .exit_code = 139, .verdict = "killed by signal 11 (SIGSEGV)"});
}

TEST_F(KillMatrix, Abort) {
  run_everywhere({.name = "abort", .actions = {"abort"}, .exit_code = 134, .verdict = "killed by signal 6 (SIGABRT)"});
}

TEST_F(KillMatrix, Kill) {
  run_everywhere({.name = "kill", .actions = {"kill"}, .exit_code = 137, .verdict = "killed by signal 9 (SIGKILL)"});
}

TEST_F(KillMatrix, Stop) {
  run_everywhere(
      {.name = "stop", .actions = {"stop"}, .exit_code = 5, .verdict = "did not answer", .before = {"timeout=4000"}});
}

TEST_F(KillMatrix, MemoryLimit) {
  const auto group = MemoryCgroup::make(128 << 20);
  if (!group) GTEST_SKIP() << "no memory cgroup can be made here";
  run_everywhere({.name = "memory",
                  .actions = {"eat"},
                  .exit_code = 137,
                  .verdict = "cause: out of memory: memory cgroup ",
                  .cgroup = group->join_file()});
}

TEST_F(KillMatrix, RefusedAllocation) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs more address space than any limit leaves";
#endif
  run_everywhere({.name = "allocation",
                  .actions = {"limit-mib=256", "eat"},
                  .exit_code = 134,
                  .verdict = "cause: out of memory: an allocation was refused"});
}

TEST_F(KillMatrix, LauncherKilled) {
  run_everywhere({.name = "launcher",
                  .actions = {},
                  .exit_code = -1,
                  .verdict = "",
                  .before = {"ignore-term"},
                  .strike = [](Launch& launch) { launch.signal(SIGKILL); }});
}

TEST_F(KillMatrix, AgentOfAnotherHostKilled) {
  if (!kSeveralHosts) GTEST_SKIP() << "the thread sanitizer cannot see through Debian's gRPC";
  run(kTwoHosts, {.name = "agent",
                  .actions = {},
                  .exit_code = 5,
                  .verdict = "is lost with its host",
                  .strike = [](Launch& launch) { launch.signal(SIGKILL); },
                  .strike_last = true});
}

TEST_F(KillMatrix, InterruptedTwice) {
  run_everywhere({.name = "interrupt",
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
