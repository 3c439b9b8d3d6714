// Which trainings `rondo train --verify` compares.
#include "launcher/cli/verify_runs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace rondo::launcher {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

TEST(VerifyRuns, OneProcessGetsTheGlobalBatchesAndAllOthersTheRanks) {
  const auto runs = verify_runs({.recipe = "r", .ranks = 3, .batch = 20, .settings = {"lr=0.2"}});
  ASSERT_GE(runs.size(), 3U);
  EXPECT_EQ(runs[0].ranks, 3);
  EXPECT_THAT(runs[0].settings, ElementsAre("lr=0.2", "epochs=1", "limit=600")) << "ten steps";
  EXPECT_EQ(runs[1].ranks, 1);
  EXPECT_THAT(runs[1].settings, ElementsAre("lr=0.2", "epochs=1", "limit=600", "batch=60"));
  for (size_t i = 2; i < runs.size(); ++i) EXPECT_EQ(runs[i].ranks, 3) << runs[i].name;
  EXPECT_EQ(runs[2].settings, runs[0].settings) << "once more";
}

TEST(VerifyRuns, EachVariesOneSettingAfterTheUsers) {
  const auto runs = verify_runs({.recipe = "r", .ranks = 2, .batch = 8, .settings = {"overlap=on", "epochs=2"}});
  std::set<std::string> names;
  for (size_t i = 3; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i].settings.size(), 3U) << runs[i].name;
    EXPECT_THAT(runs[i].settings, Not(Contains(::testing::StartsWith("limit="))));
    EXPECT_TRUE(names.insert(runs[i].settings.back()).second);
  }
  for (const char* varied : {"transport=tcp", "transport=shm", "overlap=off", "algorithm=direct"})
    EXPECT_THAT(names, Contains(varied));
}

}  // namespace
}  // namespace rondo::launcher
