#include "trainer/data/sample_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace rondo::trainer {
namespace {

TEST(SampleOrder, APermutationHoldsEverySampleOnce) {
  for (const int64_t count : {0, 1, 2, 3, 97, 60'000}) {
    std::vector<int64_t> order = permutation({.seed = 3, .epoch = 1}, count);
    std::ranges::sort(order);
    std::vector<int64_t> expected(static_cast<size_t>(count));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(order, expected) << count;
  }
}

TEST(SampleOrder, DependsOnSeedAndEpochOnly) {
  const EpochKey key{.seed = 1, .epoch = 0};
  EXPECT_EQ(permutation(key, 1000), permutation(key, 1000));
  std::set<std::string> hashes;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (int64_t epoch = 0; epoch < 10; ++epoch)
      hashes.insert(order_hash(permutation({.seed = seed, .epoch = epoch}, 1000)));
  }
  EXPECT_EQ(hashes.size(), 100U);
  // Fixed for good: a checkpoint of today must find the same order tomorrow.
  EXPECT_EQ(permutation(key, 8), (std::vector<int64_t>{6, 5, 7, 4, 0, 1, 3, 2}));
  EXPECT_EQ(order_hash(permutation(key, 60'000)), "50d377e924c12e20");
}

TEST(SampleOrder, EveryPlaceIsEquallyLikely) {
  constexpr int kCount = 5, kDraws = 20'000;
  int seen[kCount][kCount] = {};
  for (int64_t epoch = 0; epoch < kDraws; ++epoch) {
    const auto order = permutation({.seed = 9, .epoch = epoch}, kCount);
    for (int place = 0; place < kCount; ++place) ++seen[place][order[static_cast<size_t>(place)]];
  }
  const double expected = kDraws / double{kCount};
  for (const auto& row : seen) {
    for (const int count : row) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected));
  }
}

TEST(SampleOrder, HalfOfTheSamplesAreFlippedAndEpochsDiffer) {
  int first = 0, differ = 0;
  constexpr int kSamples = 10'000;
  for (int64_t sample = 0; sample < kSamples; ++sample) {
    const bool now = flipped({.seed = 1, .epoch = 0}, sample);
    first += now ? 1 : 0;
    differ += now != flipped({.seed = 1, .epoch = 1}, sample) ? 1 : 0;
    EXPECT_EQ(now, flipped({.seed = 1, .epoch = 0}, sample));
  }
  EXPECT_NEAR(first, kSamples / 2, 250);
  EXPECT_NEAR(differ, kSamples / 2, 250);
}

TEST(SampleOrder, StepsAndRanksTakeEverySampleExactlyOnce) {
  for (const int world_size : {1, 2, 3, 5, 8}) {
    for (const int64_t count : {1, 7, 63, 64, 65, 127, 640, 641}) {
      const BatchPlan plan{.sample_count = count, .batch = 8, .world_size = world_size};
      std::vector<int> taken(static_cast<size_t>(count));
      for (int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
        int64_t next = plan.global_range(step).first;
        for (int rank = 0; rank < world_size; ++rank) {
          const Range range = plan.rank_range(step, rank);
          EXPECT_EQ(range.first, next) << "slices lie one behind the other";
          next = range.last;
          EXPECT_LE(range.count(), plan.batch);
          for (int64_t i = range.first; i < range.last; ++i) ++taken[static_cast<size_t>(i)];
        }
        EXPECT_EQ(next, plan.global_range(step).last);
      }
      EXPECT_TRUE(std::ranges::all_of(taken, [](int times) { return times == 1; }))
          << count << " samples, " << world_size << " ranks";
    }
  }
}

TEST(SampleOrder, AFullStepGivesRankRItsRthSlice) {
  const BatchPlan plan{.sample_count = 1000, .batch = 64, .world_size = 3};
  EXPECT_EQ(plan.rank_range(2, 1), (Range{.first = 2 * 192 + 64, .last = 2 * 192 + 128}));
  EXPECT_EQ(plan.steps_per_epoch(), 6);
  EXPECT_EQ(plan.rank_range(5, 0).count() + plan.rank_range(5, 1).count() + plan.rank_range(5, 2).count(), 40);
  EXPECT_EQ(plan.rank_range(5, 0).count(), 13) << "a short batch is dealt evenly";
}

TEST(SampleOrder, TwoRanksSeeTheSamplesOfOneRankWithTwiceTheBatch) {
  const BatchPlan one{.sample_count = 1000, .batch = 128, .world_size = 1};
  const BatchPlan two{.sample_count = 1000, .batch = 64, .world_size = 2};
  ASSERT_EQ(one.steps_per_epoch(), two.steps_per_epoch());
  for (int64_t step = 0; step < one.steps_per_epoch(); ++step)
    EXPECT_EQ(one.global_range(step), two.global_range(step));
}

TEST(SampleOrder, EvaluationBlocksCoverEverySampleOnceWithBordersThatDoNotMove) {
  const auto borders_of_one = evaluation_blocks(10'007, 0, 1);
  for (const int world_size : {1, 2, 3, 7}) {
    std::vector<Range> all;
    for (int rank = 0; rank < world_size; ++rank) {
      const auto mine = evaluation_blocks(10'007, rank, world_size);
      all.insert(all.end(), mine.begin(), mine.end());
    }
    std::ranges::sort(all, {}, &Range::first);
    EXPECT_EQ(all, borders_of_one);
  }
  EXPECT_EQ(borders_of_one.back(), (Range{.first = 10'000, .last = 10'007}));
  EXPECT_TRUE(evaluation_blocks(100, 1, 2).empty());
}

}  // namespace
}  // namespace rondo::trainer
