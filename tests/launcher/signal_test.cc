/// Signals to the launcher, and its sudden death.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;

std::vector<pid_t> pids_of(const std::filesystem::path& run) {
  std::vector<pid_t> pids;
  for (const std::string& line : lines_of(read_file(run / "events.jsonl"))) {
    const json event = json::parse(line);
    if (event["kind"] == "spawn") pids.push_back(event["pid"]);
  }
  return pids;
}

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

TEST_F(Signal, ThatIsRepeatedKillsAtOnce) {
  Launch launch(job({"ignore-term", "out=ready", "wait"}, {"--grace", "600"}), options());
  ASSERT_TRUE(both_ready(launch));
  launch.signal(SIGTERM);
  ASSERT_TRUE(eventually(std::chrono::seconds(10), [&] {
    return read_file(folder_.path() / "run" / "events.jsonl").find("\"kind\":\"stop\"") != std::string::npos;
  }));
  launch.signal(SIGTERM);
  EXPECT_EQ(launch.wait().exit_code, 143);
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
