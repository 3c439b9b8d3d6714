#include "trainer/checkpoint/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "rondo/error.h"
#include "tests/trainer/data/test_data.h"
#include "trainer/checkpoint/checkpoint.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;
using Condition = StoredCheckpoint::Condition;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<StoredCheckpoint> valid(const std::vector<int64_t>& steps) {
  std::vector<StoredCheckpoint> stored;
  for (const int64_t step : steps) stored.push_back({.step = step});
  return stored;
}

TEST(Retention, KeepsTheNewestK) {
  EXPECT_THAT(decide_retention(valid({1, 2, 3, 4}), 4, {}).remove, IsEmpty()) << "0 keeps all";
  EXPECT_THAT(decide_retention(valid({1, 2, 3, 4}), 4, {.newest = 1}).remove, ElementsAre(1, 2, 3));
  EXPECT_THAT(decide_retention(valid({1, 2, 3, 4}), 4, {.newest = 3}).remove, ElementsAre(1));
  EXPECT_THAT(decide_retention(valid({1, 2, 3, 4}), 4, {.newest = 4}).remove, IsEmpty());
  EXPECT_THAT(decide_retention(valid({1, 2, 3, 4}), 4, {.newest = 5}).remove, IsEmpty());
  EXPECT_THAT(decide_retention({}, 4, {.newest = 1}).remove, IsEmpty());
}

TEST(Retention, DamagedOnesDoNotCountAndTheOneJustWrittenStays) {
  auto stored = valid({1, 2, 3, 4});
  stored[3].condition = Condition::kDamaged;
  EXPECT_THAT(decide_retention(stored, 3, {.newest = 2}).remove, ElementsAre(1)) << "2 and 3 are the newest valid";
  stored[1].condition = Condition::kDamaged;
  EXPECT_THAT(decide_retention(stored, 3, {.newest = 1}).remove, ElementsAre(1, 2)) << "4 may be looked at";
  EXPECT_THAT(decide_retention(valid({1, 2, 3}), 1, {.newest = 1}).remove, ElementsAre(2))
      << "the run went on from an earlier step";
}

TEST(Retention, TheBestIsTheFirstOfEqualsAndNeverANaN) {
  auto stored = valid({1, 2, 3, 4, 5});
  const double metrics[] = {0.5, 0.25, 0.75, 0.25, 0.75};
  for (size_t i = 0; i < stored.size(); ++i) stored[i].metric = metrics[i];
  const KeepRules lower{.newest = 1, .best_metric = "loss"};
  KeepRules higher = lower;
  higher.better = KeepRules::Better::kHigher;
  EXPECT_EQ(decide_retention(stored, 5, lower).best, 2);
  EXPECT_THAT(decide_retention(stored, 5, lower).remove, ElementsAre(1, 3, 4));
  EXPECT_EQ(decide_retention(stored, 5, higher).best, 3);
  EXPECT_THAT(decide_retention(stored, 5, higher).remove, ElementsAre(1, 2, 4));
  stored[0].metric = stored[1].metric = NAN;
  EXPECT_EQ(decide_retention(stored, 5, lower).best, 4);
  stored[3].condition = Condition::kDamaged;
  EXPECT_EQ(decide_retention(stored, 5, lower).best, 3);
  EXPECT_FALSE(decide_retention(valid({1, 2}), 2, lower).best);
}

class KeepFolder : public ::testing::Test {
 protected:
  void write(int64_t step, double accuracy) {
    Manifest manifest{.step = step};
    manifest.metrics = {{"accuracy", accuracy}};
    write_checkpoint(folder_.path(), manifest, {{kModelFile, {}}});
    apply_keep_rules(folder_.path(), step, rules_);
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }
  std::string best() const { return fs::read_symlink(folder_.path() / kBestLink).string(); }

  const test::TemporaryFolder folder_;
  const KeepRules rules_{.newest = 2, .best_metric = "accuracy", .better = KeepRules::Better::kHigher};
};

TEST_F(KeepFolder, HoldsTheNewestAndTheBestAtEveryTime) {
  write(10, 0.5);
  EXPECT_THAT(entries(), ElementsAre("best", "step-00000010"));
  write(20, 0.9);
  write(30, 0.8);
  EXPECT_THAT(entries(), ElementsAre("best", "step-00000020", "step-00000030"));
  write(40, NAN);
  write(50, 0.85);
  EXPECT_THAT(entries(), ElementsAre("best", "step-00000020", "step-00000040", "step-00000050"));
  EXPECT_EQ(best(), "step-00000020");
  EXPECT_EQ(open_checkpoint(folder_.path() / kBestLink).manifest.metrics.at("accuracy"), 0.9) << "exactly";
  EXPECT_TRUE(std::isnan(open_checkpoint(folder_.path() / "step-00000040").manifest.metrics.at("accuracy")));
  write(60, 0.95);
  EXPECT_EQ(best(), "step-00000060");
  EXPECT_THAT(entries(), ElementsAre("best", "step-00000050", "step-00000060"));
  EXPECT_EQ(newest_valid_checkpoint(folder_.path()).checkpoint.manifest.step, 60) << "the link is no checkpoint";
}

TEST_F(KeepFolder, WhatACrashLeftIsClearedAndDamagedOnesAreNotTakenForTheNewest) {
  write(10, 0.5);
  write(20, 0.6);
  fs::create_directories(folder_.path() / ".tmp-step-00000005");  // half removed
  fs::create_symlink("step-00000009", folder_.path() / ".tmp-best");
  fs::create_directories(folder_.path() / ".tmp-step-00000025-99999");
  test::write_file(folder_.path() / "step-00000020" / kModelFile, "damaged");
  write(30, 0.7);
  EXPECT_THAT(entries(), ElementsAre("best", "step-00000010", "step-00000020", "step-00000030"));
  // Left from before a resume from step 30, with a hash that is wrong though the size is right.
  Manifest later{.step = 90};
  write_checkpoint(folder_.path(), later, {{kModelFile, {std::byte{1}}}});
  test::write_file(folder_.path() / "step-00000090" / kModelFile, "x");
  write(40, 0.6);
  EXPECT_THAT(entries(), ElementsAre("best", "step-00000030", "step-00000040", "step-00000090"));
}

TEST_F(KeepFolder, SaysWhatCannotBeRemovedAndKeepsTheNewOne) {
  write(10, 0.1);
  write(20, 0.2);
  fs::remove(folder_.path() / kBestLink);
  fs::create_directories(folder_.path() / kBestLink / "in the way");
  EXPECT_THAT(test::words_of_error([&] { write(30, 0.3); }),
              ::testing::HasSubstr((folder_.path() / kBestLink).string()));
  EXPECT_EQ(newest_valid_checkpoint(folder_.path()).checkpoint.manifest.step, 30);
}

}  // namespace
}  // namespace rondo::trainer
