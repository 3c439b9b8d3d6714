/// Signals to the launcher, and its sudden death.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>

#include "tests/launcher/support/events.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

class Signal : public testing::Test {
 protected:
  std::vector<std::string> job(std::vector<std::string> actions, std::vector<std::string> flags = {}) const {
    std::vector<std::string> arguments{"run", "-n", "2", "--run-dir", "run"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    arguments.emplace_back(RONDO_TEST_WORKER);
    arguments.insert(arguments.end(), actions.begin(), actions.end());
    return arguments;
  }
  Launch::Options options() const { return {.environment = {}, .folder = folder_.path()}; }
  static bool both_ready(Launch& launch) {
    return launch.wait_for("[rank 0] ready") && launch.wait_for("[rank 1] ready");
  }

  const TemporaryFolder folder_;
};

TEST_F(Signal, IsForwardedToEveryRankAndDecidesTheExitCode) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    std::filesystem::remove_all(folder_.path() / "run");
    Launch launch(job({"on-signal=0", "out=ready", "wait"}), options());
    ASSERT_TRUE(both_ready(launch));
    launch.signal(number);
    const Outcome outcome = launch.wait();
    EXPECT_EQ(outcome.exit_code, 128 + number);
    for (const char* rank : {"[rank 0]", "[rank 1]"})
      EXPECT_THAT(lines_of(outcome.output), Contains(rank + (" got signal " + std::to_string(number))));
  }
}

TEST_F(Signal, IsFollowedByTermAndThenByKillWhenRepeated) {
  Launch launch(job({"handle=2", "handle=15", "out=ready", "wait"}, {"--grace", "600"}), options());
  ASSERT_TRUE(both_ready(launch));
  launch.signal(SIGINT);
  for (const char* rank : {"[rank 0]", "[rank 1]"})
    ASSERT_TRUE(launch.wait_for(rank + std::string(" handled signal 02")));
  ASSERT_TRUE(launch.wait_for("rondo: 2 (SIGINT): passed on"));
  launch.signal(SIGINT);
  for (const char* rank : {"[rank 0]", "[rank 1]"})
    ASSERT_TRUE(launch.wait_for(rank + std::string(" handled signal 15")));
  ASSERT_TRUE(launch.wait_for("rondo: 2 (SIGINT) again: SIGTERM"));
  launch.signal(SIGINT);
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.exit_code, 130);
  EXPECT_THAT(outcome.errors, HasSubstr("rondo: 2 (SIGINT) once more: SIGKILL"));
}

TEST_F(Signal, AfterWhichAllRanksEndWithACheckpointIsAPreemption) {
  Launch launch(job({"on-signal=75", "out=ready", "wait"}), options());
  ASSERT_TRUE(both_ready(launch));
  launch.signal(SIGTERM);
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.exit_code, 75);
  EXPECT_THAT(outcome.errors, HasSubstr("stopped by signal 15 (SIGTERM), with a checkpoint of all ranks"));
}

TEST_F(Signal, ThatAsksForACheckpointReachesOnlyRanksThatHandleIt) {
  Launch launch(job({"1:handle=10", "on-signal=0", "out=ready", "wait"}), options());
  ASSERT_TRUE(both_ready(launch));
  launch.signal(SIGUSR1);
  EXPECT_TRUE(launch.wait_for("[rank 1] handled signal 10"));
  EXPECT_TRUE(launch.wait_for("not sent to rank 0, which has no handler for it"));
  for (const pid_t pid : pids_of(folder_.path() / "run")) EXPECT_TRUE(process_lives(pid));
  launch.signal(SIGTERM);
  EXPECT_EQ(launch.wait().exit_code, 143);
}

TEST_F(Signal, ThatAsksForStacksShowsThemAndTheRunGoesOn) {
  Launch launch(job({"join", "out=ready", "until=go", "reduce=1000", "leave"}), options());
  ASSERT_TRUE(both_ready(launch));
  launch.signal(SIGUSR2);
  for (const char* rank : {"rank 0", "rank 1"})
    ASSERT_TRUE(launch.wait_for("rondo: where " + std::string(rank) + " is (kept: run/stacks/")) << rank;
  std::ofstream(folder_.path() / "go") << "go";
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  const std::string stacks = read_file(folder_.path() / "run" / "stacks" / "rank-0001.txt");
  EXPECT_THAT(stacks, HasSubstr("thread rondo-keeper ("));
  EXPECT_THAT(stacks, HasSubstr("main+0x"));
  EXPECT_THAT(outcome.errors, HasSubstr("main+0x"));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "run" / "flight" / "rank-0001.bin"));
}

TEST_F(Signal, ThatStopsTheLauncherStopsItsRanksAndAllGoOnTogether) {
  const auto state = [](pid_t pid) {
    const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    return stat.substr(stat.rfind(')') + 2, 1);
  };
  // Collectives that would not wait as long as the ranks are stopped.
  Launch launch(job({"timeout=1500", "join", "out=ready", "until=go", "reduce=1000", "leave"}), options());
  ASSERT_TRUE(both_ready(launch));
  std::vector<pid_t> all = pids_of(folder_.path() / "run");
  all.push_back(launch.pid());
  const auto are = [&](bool stopped) {
    return std::all_of(all.begin(), all.end(), [&](pid_t pid) { return (state(pid) == "T") == stopped; });
  };
  launch.signal(SIGTSTP);
  ASSERT_TRUE(eventually(std::chrono::seconds(10), [&] { return are(true); }));
  EXPECT_FALSE(eventually(std::chrono::seconds(2), [&] { return !are(true); })) << "one went on by itself";
  launch.signal(SIGCONT);
  ASSERT_TRUE(eventually(std::chrono::seconds(10), [&] { return are(false); }));
  std::ofstream(folder_.path() / "go") << "go";
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(lines_of(outcome.output), Contains("[rank 1] left"));
}

TEST_F(Signal, KillsDeafRanksWhenTheGraceIsOver) {
  Launch launch(job({"ignore-term", "out=ready", "wait"}, {"--grace", "0.2"}), options());
  ASSERT_TRUE(both_ready(launch));
  launch.signal(SIGINT);
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.exit_code, 130);
  for (const pid_t pid : pids_of(folder_.path() / "run")) EXPECT_FALSE(process_lives(pid));
}

TEST_F(Signal, KillOfTheLauncherLeavesNoWorkerAfterOneSecond) {
  Launch launch(job({"ignore-term", "out=ready", "wait"}), options());
  ASSERT_TRUE(both_ready(launch));
  const std::vector<pid_t> workers = pids_of(folder_.path() / "run");
  ASSERT_EQ(workers.size(), 2u);
  for (const pid_t pid : workers) ASSERT_TRUE(process_lives(pid));
  launch.signal(SIGKILL);
  EXPECT_TRUE(
      eventually(std::chrono::seconds(1), [&] { return !process_lives(workers[0]) && !process_lives(workers[1]); }));
  EXPECT_EQ(launch.wait().signal, SIGKILL);
}

TEST_F(Signal, DoesNotTakeTheBlameFromARankThatFailedBefore) {
  Launch launch(job({"0:exit=37", "ignore-term", "out=ready", "wait"}, {"--grace", "1"}), options());
  ASSERT_TRUE(launch.wait_for("[rank 1] ready"));
  ASSERT_TRUE(eventually(std::chrono::seconds(10), [&] {
    return read_file(folder_.path() / "run" / "events.jsonl").find("\"kind\":\"exit\"") != std::string::npos;
  }));
  launch.signal(SIGINT);
  const Outcome outcome = launch.wait();
  EXPECT_EQ(outcome.exit_code, 37);
  EXPECT_THAT(outcome.errors, HasSubstr("rank 0 "));
}

}  // namespace
}  // namespace rondo::test
