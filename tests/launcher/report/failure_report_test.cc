#include "launcher/report/failure_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launcher/report/failure_file.h"

namespace rondo::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TEST(FailureReport, NamesTheCulpritThenItsWordsThenTheVictimsOnOneLine) {
  RankStory victim{.rank = 0, .pid = 100, .host = "box", .evidence = {}, .last_lines = {}, .log_path = "0.err"};
  victim.evidence.ending = Ending{.exit_code = 1, .signal = 0, .at = {}};
  RankStory culprit{
      .rank = 1, .pid = 101, .host = "box", .evidence = {}, .last_lines = {"one", "two"}, .log_path = "1.err"};
  culprit.evidence.ending = Ending{.exit_code = 0, .signal = 9, .at = {}};
  RankStory stopped{.rank = 2, .pid = 102, .host = "box", .evidence = {}, .last_lines = {}, .log_path = "2.err"};
  stopped.evidence.ending = Ending{.exit_code = 0, .signal = 15, .at = {}};
  stopped.evidence.stopped_by_launcher = true;
  RankStory well{.rank = 3, .pid = 103, .host = "box", .evidence = {}, .last_lines = {}, .log_path = "3.err"};
  well.evidence.ending = Ending{};

  victim.doing = well.doing = "in barrier";
  culprit.doing = "in no collective yet";
  const FailedRun run{.ranks = {victim, culprit, stopped, well},
                      .culprit = 1,
                      .command = {"rondo", "run", "-n", "4", "a program", "--lr=0.1"},
                      .folder = "runs/x"};
  EXPECT_THAT(
      failure_report(run),
      ElementsAre("rank 1 (host box, pid 101) killed by signal 9 (SIGKILL)",
                  "  its last lines on stderr (all of them: 1.err):", "    one", "    two",
                  "  what the ranks were doing:", "    ranks 0 and 3: in barrier", "    rank 1: in no collective yet",
                  "  ended because of it: rank 0 (exited with code 1), rank 2 (stopped)",
                  StartsWith("  hint: neither the launcher"), "  again: rondo run -n 4 'a program' --lr=0.1"));
  const auto json = nlohmann::json::parse(failure_json(run));
  EXPECT_EQ(json["rank"], 1);
  EXPECT_EQ(json["generation"], 0);
  EXPECT_EQ(json["last_lines_of"], "stderr");
  EXPECT_EQ(json["host"], "box");
  EXPECT_EQ(json["pid"], 101);
  EXPECT_EQ(json["exit_code"], nullptr);
  EXPECT_EQ(json["signal"], 9);
  EXPECT_EQ(json["cause"], "killed by signal 9 (SIGKILL)");
  EXPECT_EQ(json["victims"], (std::vector<int>{0, 2}));
  EXPECT_EQ(json["last_lines"], (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(json["ranks"].size(), 4u);
  EXPECT_EQ(json["ranks"][0]["exit_code"], 1);
  EXPECT_EQ(json["ranks"][3]["doing"], "in barrier");
  EXPECT_EQ(json["rerun"], "rondo run -n 4 'a program' --lr=0.1");
}

TEST(FailureReport, EscapesWhatARankReported) {
  RankStory only{.rank = 0, .pid = 7, .host = "box", .evidence = {}, .last_lines = {}, .log_path = "0.err"};
  only.evidence.ending = Ending{.exit_code = 7, .signal = 0, .at = {}};
  only.evidence.report = FailureReport{.culprit = 0, .code = "exception", .text = "loss is \x1b[31mnan"};
  EXPECT_THAT(failure_report({.ranks = {only}, .culprit = 0}),
              ElementsAre("rank 0 (host box, pid 7) exited with code 7",
                          "  it reported: exception: loss is \\x1b[31mnan", "  it wrote nothing to stderr"));
}

TEST(FailureReport, OfALostHostHasTheLinesThatCame) {
  RankStory only{.rank = 0, .pid = 7, .host = "box", .evidence = {}, .last_lines = {}, .log_path = {}};
  only.evidence.ending = Ending{.exit_code = 0, .signal = 0, .at = {}, .lost = true};
  EXPECT_THAT(
      failure_report({.ranks = {only}, .culprit = 0}),
      ElementsAre("rank 0 (host box, pid 7) is lost with its host", "  what it wrote is in the logs on its host"));
  only.last_lines = {"step 5"};
  EXPECT_THAT(
      failure_report({.ranks = {only}, .culprit = 0}),
      ElementsAre("rank 0 (host box, pid 7) is lost with its host",
                  "  its last lines on stderr that came here (all of them: in the logs on its host):", "    step 5"));
}

TEST(FailureReport, StaysShortForManyRanks) {
  FailedRun run{.ranks = {}, .culprit = 7, .folder = "runs/x"};
  for (int rank = 0; rank < 64; ++rank) {
    run.ranks.push_back({.rank = rank, .pid = 100 + rank, .host = "box", .log_path = "e"});
    RankStory& story = run.ranks.back();
    story.evidence.ending = Ending{.exit_code = 0, .signal = rank == 7 ? 11 : 15, .at = {}};
    story.evidence.stopped_by_launcher = rank != 7;
    story.doing = rank == 7 ? "in no collective yet" : "in barrier";
  }
  const auto lines = failure_report(run);
  EXPECT_LT(lines.size(), 12u);
  EXPECT_THAT(lines, testing::Contains("    ranks 0-6 and 8-63: in barrier"));
  EXPECT_THAT(lines, testing::Contains("  ended because of it: ranks 0-6 and 8-63 (stopped)"));
  EXPECT_THAT(lines, testing::Contains("  cause: it used memory that is not its own"));
}

}  // namespace
}  // namespace rondo::launcher
