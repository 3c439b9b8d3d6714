#include "launcher/agent/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

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

  EXPECT_THAT(failure_report({victim, culprit, stopped, well}, 1),
              testing::ElementsAre("rank 1 (host box, pid 101) killed by signal 9 (SIGKILL)",
                                   "  its last lines on stderr (all of them: 1.err):", "    one", "    two",
                                   "  ended because of it: rank 0 (exited with code 1), rank 2 (stopped)"));
}

TEST(FailureReport, EscapesWhatARankReported) {
  RankStory only{.rank = 0, .pid = 7, .host = "box", .evidence = {}, .last_lines = {}, .log_path = "0.err"};
  only.evidence.ending = Ending{.exit_code = 7, .signal = 0, .at = {}};
  only.evidence.report = FailureReport{.culprit = 0, .code = "exception", .text = "loss is \x1b[31mnan"};
  EXPECT_THAT(failure_report({only}, 0),
              testing::ElementsAre("rank 0 (host box, pid 7) exited with code 7",
                                   "  it reported: exception: loss is \\x1b[31mnan", "  it wrote nothing to stderr"));
}

}  // namespace
}  // namespace rondo::launcher
