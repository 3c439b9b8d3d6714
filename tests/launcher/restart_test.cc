/// --max-restarts: after a failure all ranks start again, as a new generation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> kinds_of(const std::filesystem::path& run) {
  std::vector<std::string> kinds;
  for (const std::string& line : lines_of(read_file(run / "events.jsonl"))) kinds.push_back(json::parse(line)["kind"]);
  return kinds;
}

TEST(Restart, StartsAllRanksAgainUntilOneGenerationEndsWell) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "-n", "2", "--max-restarts", "3", "--run-dir", "run", RONDO_TEST_WORKER,
                                 "out=hello", "1:fail-until=2", "env"},
                                {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("rondo: all ranks start again, restart 1 of 3\n"));
  EXPECT_THAT(run.errors, HasSubstr("rondo: all ranks start again, restart 2 of 3\n"));
  EXPECT_THAT(run.errors, HasSubstr("rank 1 (host ")) << "who failed";
  EXPECT_THAT(run.errors, Not(HasSubstr("restart 3 of 3")));
  const auto logs = folder.path() / "run" / "logs";
  EXPECT_THAT(read_file(logs / "rank-0001.out"), testing::StartsWith("hello\n")) << "the first generation's stay";
  const std::string last = read_file(logs / "attempt-2" / "rank-0001.out");
  const json variables = json::parse(last.substr(last.find('\n') + 1))["variables"];
  EXPECT_EQ(variables["TORCHELASTIC_RESTART_COUNT"], "2");
  EXPECT_EQ(variables["TORCHELASTIC_MAX_RESTARTS"], "3");
  EXPECT_EQ(variables["RONDO_GENERATION"], "2");
  const auto kinds = kinds_of(folder.path() / "run");
  for (const int generation : {0, 1}) {
    const auto file = folder.path() / "run" / ("failure-generation-" + std::to_string(generation) + ".json");
    const json failure = json::parse(read_file(file), nullptr, false);
    ASSERT_TRUE(failure.is_object()) << file;
    EXPECT_EQ(failure["generation"], generation);
    EXPECT_EQ(failure["rank"], 1);
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "run" / "failure.json")) << "the run ended well";
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "restart"), 2);
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "spawn"), 6);
}

TEST(Restart, GivesUpAfterTheLastWithTheCulpritsCode) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "-n", "2", "--max-restarts", "1", RONDO_TEST_WORKER, "0:exit=37", "1:wait=0"},
                                {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 37) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("restart 1 of 1"));
  const auto latest = folder.path() / "runs" / "latest";
  EXPECT_EQ(json::parse(read_file(latest / "failure-generation-0.json"))["generation"], 0);
  EXPECT_EQ(json::parse(read_file(latest / "failure.json"))["generation"], 1);
}

TEST(Restart, DoesNotHappenUnasked) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", RONDO_TEST_WORKER, "fail-until=1"}, {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 37);
  EXPECT_THAT(run.errors, Not(HasSubstr("start again")));
}

TEST(Restart, DoesNotFollowASignal) {
  const TemporaryFolder folder;
  Launch launch({"run", "--max-restarts", "3", RONDO_TEST_WORKER, "out=ready", "wait"}, {.folder = folder.path()});
  ASSERT_TRUE(launch.wait_for("ready\n"));
  launch.signal(SIGTERM);
  const Outcome run = launch.wait();
  EXPECT_EQ(run.exit_code, 128 + SIGTERM);
  EXPECT_THAT(run.errors, Not(HasSubstr("start again")));
}

TEST(Restart, FormsANewGroupThatAddsUpRight) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "-n", "3", "--max-restarts", "2", RONDO_TEST_WORKER, "join", "reduce=100",
                                 "2:fail-until=1", "reduce=1000", "leave"},
                                {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("restart 1 of 2"));
  EXPECT_THAT(run.errors, testing::ContainsRegex("rank 2 \\(host [^\n]*\\) exited with code 37\n"))
      << "not a rank that comm told of it";
  EXPECT_THAT(run.output, HasSubstr("[rank 0] left\n"));
}

TEST(Restart, TellsTheRanksOfALaterGenerationAVerdictThatTheyBelieve) {
  const TemporaryFolder folder;
  const std::string greeted = folder.path() / "greeted";  // rank 0 of generation 1 is heard before rank 1 fails
  const Outcome run =
      run_rondo({"run", "-n", "2", "--max-restarts", "1", RONDO_TEST_WORKER, "0:fail-until=1", "hello",
                 "0:secret=" + greeted, "1:until=" + greeted, "1:exit=38", "verdict", "out=believed", "exit=1"},
                {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 38) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("[rank 0] believed\n")) << run.errors;
}

// It finds nobody of its own generation; that a link refuses an older number is shown in tests/comm/transport.
TEST(Restart, KeepsALateRankOfTheGenerationBeforeOutAndGoesOnUndisturbed) {
  const TemporaryFolder folder;
  const std::string late = folder.path() / "late";
  // Rank 1 leaves a process behind, out of the launcher's reach.
  const Outcome run =
      run_rondo({"run", "-n", "2", "--max-restarts", "1", RONDO_TEST_WORKER, "1:late=" + late, "1:fail-until=1", "join",
                 "reduce=100", "out=together", "until=" + late, "reduce=1000", "leave"},
                {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(read_file(late), testing::StartsWith("refused: ")) << "it may not get in";
}

TEST(Restart, TellsTheErrorThatAProgramLeavesByTorchrunsRules) {
  const TemporaryFolder folder;
  const Outcome run =
      run_rondo({"run", "-n", "2", "--run-dir", "run", RONDO_TEST_WORKER, "1:error-file=no such tensor", "1:exit=1"},
                {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.errors, HasSubstr("it reported: exception: no such tensor\n"));
}

}  // namespace
}  // namespace rondo::test
