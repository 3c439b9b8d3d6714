#include "launcher/terminal/live_runs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::vector<RunDoor> kTwo{{0, 11, "mine-20250131-11"}, {0, 12, "mine-20250131-12"}};

TEST(ChooseRun, IsTheOnlyOneWithoutAWord) {
  EXPECT_EQ(choose_run("", std::vector<RunDoor>{kTwo[0]})->launcher, 11);
  EXPECT_THAT(choose_run("", {}).status().message(), HasSubstr("no run goes on here"));
  EXPECT_THAT(choose_run("", kTwo).status().message(),
              AllOf(HasSubstr("which run?"), HasSubstr("mine-20250131-11 (pid 11), mine-20250131-12 (pid 12)")));
}

TEST(ChooseRun, TakesIdsTheirBeginningsAndPids) {
  EXPECT_EQ(choose_run("mine-20250131-12", kTwo)->launcher, 12);
  EXPECT_EQ(choose_run("11", kTwo)->launcher, 11);
  const std::vector<RunDoor> nested{{0, 1, "a"}, {0, 2, "ab"}, {0, 3, "abc"}};
  EXPECT_EQ(choose_run("a", nested)->launcher, 1) << "a whole id comes before beginnings";
  EXPECT_EQ(choose_run("abc", nested)->launcher, 3);
  const std::vector<RunDoor> cut{{0, 5, std::string(RunDoor::kLongestRun, 'x')}};
  EXPECT_EQ(choose_run(std::string(RunDoor::kLongestRun + 20, 'x'), cut)->launcher, 5) << "its door's name is cut";
}

TEST(ChooseRun, NamesWhatItMayBeAndWhatThereIs) {
  EXPECT_THAT(choose_run("mine", kTwo).status().message(), AllOf(HasSubstr("(pid 11)"), HasSubstr("(pid 12)")));
  const std::vector<RunDoor> same{{0, 1, "run"}, {0, 2, "run"}};
  EXPECT_THAT(choose_run("run", same).status().message(), HasSubstr("the launcher's pid"));
  EXPECT_EQ(choose_run("2", same)->launcher, 2);
  EXPECT_THAT(choose_run("mine-20250131-13", kTwo).status().message(),
              AllOf(HasSubstr("did you mean 'mine-20250131-11'?"), HasSubstr("mine-20250131-12 (pid 12)")));
  EXPECT_THAT(choose_run("x", {}).status().message(), HasSubstr("there is no run 'x': none goes on here"));
}

}  // namespace
}  // namespace rondo::launcher
