/// `rondo explain` on runs that hang, fail, are stopped and end well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "rondo/comm/flight.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class Explain : public testing::Test {
 protected:
  std::vector<std::string> job(int ranks, std::vector<std::string> actions) const {
    std::vector<std::string> arguments{"run", "-n", std::to_string(ranks), RONDO_TEST_WORKER};
    arguments.insert(arguments.end(), actions.begin(), actions.end());
    return arguments;
  }
  Outcome run(int ranks, std::vector<std::string> actions) const {
    return run_rondo(job(ranks, std::move(actions)), here());
  }
  Launch::Options here() const { return {.environment = {}, .folder = folder_.path()}; }
  Outcome explain(std::vector<std::string> arguments = {"latest"}) const {
    arguments.insert(arguments.begin(), "explain");
    return run_rondo(arguments, here());
  }
  json explained() const {
    const Outcome outcome = explain({"latest", "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    return json::parse(outcome.output, nullptr, false);
  }
  fs::path latest() const { return folder_.path() / "runs" / "latest"; }
  /// Asks until what the run does is `kind` of finding.
  json explained_as(const std::string& kind) const {
    json finding;
    eventually(std::chrono::seconds(20), [&] {
      const json all = explained();
      for (const json& one : all["findings"])
        if (one["kind"] == kind) finding = one;
      return !finding.is_null();
    });
    return finding;
  }

  const TemporaryFolder folder_;
};

TEST_F(Explain, NamesTheRankThatTheOthersOfARunningJobWaitFor) {
  Launch launch(job(3, {"join", "reduce=10", "reduce=20", "2:wait", "reduce=30"}), here());
  ASSERT_TRUE(launch.wait_for("[rank 2] joined"));
  json finding;
  ASSERT_TRUE(eventually(std::chrono::seconds(20), [&] {
    finding = explained_as("behind");
    return finding["sequence"] == 2 && finding["waiting"] == json({0, 1});  // before, they pass others
  })) << finding;
  EXPECT_EQ(finding["ranks"], json({2}));
  EXPECT_THAT(finding["text"].get<std::string>(),
              AllOf(HasSubstr("rank 2 has not called sequence 2 of group \"world\" (all_reduce of 30 float32, sum, tag "
                              "\"bucket 2\"): it finished sequence 1"),
                    HasSubstr("ranks 0 and 1 wait for it there")));
  const Outcome words = explain();
  EXPECT_EQ(words.exit_code, 0);
  EXPECT_THAT(lines_of(words.output), Contains(testing::MatchesRegex("runs/latest: 3 ranks, running")));
  EXPECT_THAT(lines_of(words.output), Contains(testing::MatchesRegex("rank 2 \\(pid [0-9]+\\)")));
  launch.signal(SIGINT);
  launch.wait();
}

TEST_F(Explain, NamesAStoppedRankOfARunningJob) {
  Launch launch(job(2, {"join", "reduce=10", "1:stop", "reduce=20", "wait"}), here());
  ASSERT_TRUE(launch.wait_for("[rank 1] joined"));
  const json finding = explained_as("stopped");
  EXPECT_EQ(finding["ranks"], json({1}));
  EXPECT_THAT(finding["text"].get<std::string>(), HasSubstr("is stopped (process state T: SIGSTOP or a debugger)"));
}

// The report on the first generation reads what the launcher itself still writes.
TEST_F(Explain, KnowsARunThatWasStartedAgainToBeAlive) {
  Launch launch(
      {"run", "-n", "2", "--max-restarts", "1", RONDO_TEST_WORKER, "1:fail-until=1", "join", "out=ready", "wait"},
      here());
  ASSERT_TRUE(launch.wait_for("[rank 1] ready")) << launch.so_far().errors;
  EXPECT_EQ(explained()["state"], "running");
  launch.signal(SIGINT);
  launch.wait();
}

TEST_F(Explain, NamesTheDeadAndWhatTheSurvivorsSaw) {
  EXPECT_EQ(run(3, {"join", "reduce=10", "1:kill", "reduce=20"}).exit_code, 137);
  const Outcome words = explain();
  EXPECT_EQ(words.exit_code, 0) << words.errors;
  const auto lines = lines_of(words.output);
  EXPECT_THAT(lines, Contains("runs/latest: 3 ranks, failed: rank 1 killed by signal 9 (SIGKILL)"));
  EXPECT_THAT(lines,
              Contains(testing::ContainsRegex("  rank 1 \\(pid [0-9]+\\) died: killed by signal 9 \\(SIGKILL\\); it "
                                              "was in no collective; the last that it finished: sequence 0 of "
                                              "group \"world\" \\(all_reduce of 10 float32, sum, tag \"bucket "
                                              "0\"\\)")));
  EXPECT_THAT(lines, Contains(HasSubstr("ranks 0 and 2 report kPeerLost: rank 1 (pid ")));
  for (int rank = 0; rank < 3; ++rank)
    EXPECT_EQ(fs::file_size(latest() / "flight" / ("rank-000" + std::to_string(rank) + ".bin")), comm::kFlightBytes);
}

TEST_F(Explain, ShowsBothSidesOfAMismatch) {
  EXPECT_NE(run(2, {"join", "1:broadcast=5", "0:reduce=7"}).exit_code, 0);
  EXPECT_THAT(explained_as("mismatch")["text"].get<std::string>(),
              "ranks disagreed in sequence 0 of group \"world\": rank 0 called all_reduce of 7 float32, sum, tag "
              "\"bucket 0\"; rank 1 called broadcast of 5 float32, root 0, tag \"bucket 0\"");
}

TEST_F(Explain, TellsWhatHungWhenTheUserStoppedIt) {
  Launch launch(job(2, {"join", "0:out=sleeping", "0:wait", "reduce=20"}), here());
  ASSERT_TRUE(launch.wait_for("[rank 0] sleeping"));
  explained_as("behind");  // rank 1 is in the call
  launch.signal(SIGINT);
  EXPECT_EQ(launch.wait().exit_code, 130);
  const json all = explained();
  EXPECT_EQ(all["state"], "stopped");
  EXPECT_EQ(all["findings"][0]["kind"], "behind");
  EXPECT_EQ(all["findings"][0]["ranks"], json({0}));
}

TEST_F(Explain, SaysOfAGoodRunThatItEndedWellAndOfOthersThatTheyRecordNothing) {
  EXPECT_EQ(run(2, {"join", "reduce=10", "leave"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(latest() / "flight"));
  EXPECT_THAT(explain().output, AllOf(HasSubstr("2 ranks, ended well\n"), HasSubstr("no flight records")));
  EXPECT_EQ(run(1, {"exit=3"}).exit_code, 3);
  EXPECT_FALSE(fs::exists(latest() / "flight"));
  EXPECT_THAT(explain().output, AllOf(HasSubstr("failed: rank 0 exited with code 3"), HasSubstr("no flight records")));
  Launch silent(job(1, {"out=here", "wait"}), here());
  ASSERT_TRUE(silent.wait_for("here"));
  EXPECT_THAT(explain().output, AllOf(HasSubstr("running"), HasSubstr("no flight records")));
}

TEST_F(Explain, ReadsWhatRanksWroteThemselvesWhereNoLauncherOfOursStartedThem) {
  fs::create_directory(folder_.path() / "mine");
  const Outcome worker =
      run_rondo({"join", "reduce=5", "leave"}, {.environment = {{"RONDO_RUN_DIR", folder_.path() / "mine"}},
                                                .program = RONDO_TEST_WORKER,
                                                .folder = folder_.path()});
  EXPECT_EQ(worker.exit_code, 0) << worker.errors;
  const Outcome words = explain({"mine"});
  EXPECT_EQ(words.exit_code, 0) << words.errors;
  EXPECT_THAT(words.output, AllOf(HasSubstr("mine: 1 rank, not started by rondo"), HasSubstr("rank 0 (pid ")));
}

TEST_F(Explain, OfACutRunSaysThatItsLauncherWasKilled) {
  Launch launch(job(1, {"out=here", "wait"}), here());
  ASSERT_TRUE(launch.wait_for("here"));
  launch.signal(SIGKILL);
  launch.wait();
  EXPECT_THAT(explain().output, HasSubstr("cut off: its launcher was killed"));
}

TEST_F(Explain, OfBrokenRecordsSaysSo) {
  fs::create_directories(folder_.path() / "mine" / "flight");
  std::ofstream(folder_.path() / "mine" / "flight" / "rank-0000.bin") << "no flight record";
  const Outcome words = explain({"mine"});
  EXPECT_EQ(words.exit_code, 6);
  EXPECT_THAT(words.output, HasSubstr("rank 0: its flight record cannot be read: a flight record has " +
                                      std::to_string(comm::kFlightBytes) + " bytes"));
}

TEST_F(Explain, OfNoSuchRunNamesTheNearest) {
  EXPECT_EQ(explain({"latest"}).exit_code, 2);
  EXPECT_THAT(explain({"latest"}).errors, HasSubstr("there is no run 'latest': no such folder, and there is no runs/"));
  EXPECT_EQ(run(1, {"exit=0"}).exit_code, 0);
  const Outcome lates = explain({"lates"});
  EXPECT_EQ(lates.exit_code, 2);
  EXPECT_THAT(lates.errors, HasSubstr("(did you mean 'latest'?)"));
  EXPECT_EQ(explain({}).exit_code, 2);
  EXPECT_EQ(explain({"."}).exit_code, 2);
  EXPECT_THAT(explain({"."}).errors, HasSubstr(". is no run's folder"));
  const Outcome flag = explain({"latest", "--jsno"});
  EXPECT_THAT(flag.errors, HasSubstr("did you mean '--json'?"));
  const Outcome help = explain({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("usage: rondo explain RUN|latest [--json]"), HasSubstr("examples:")));
}

}  // namespace
}  // namespace rondo::test
