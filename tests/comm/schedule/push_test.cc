#include <gtest/gtest.h>

#include <bit>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/play.h"

namespace rondo::comm {
namespace {

// Not associative, so that the result tells how the operands were nested.
double pair_up(double a, double b) { return a * 0.75 + b * 0.5; }

double tree(int lo, int hi, const std::function<double(int)>& leaf) {
  if (hi - lo == 1) return leaf(lo);
  const int half = static_cast<int>(std::bit_floor(static_cast<unsigned>(hi - lo - 1)));
  return pair_up(tree(lo, lo + half, leaf), tree(lo + half, hi, leaf));
}

double contribution(int rank, int64_t index) { return (rank + 1) * 1024.0 + static_cast<double>(index % 97); }

TEST(PushAllReduce, SumsEveryElementAsTheBalancedTree) {
  for (const int n : {1, 2, 3, 4, 5, 6, 7, 8, 11, 16}) {
    for (const int64_t elements : {0, 1, n - 1, n, n + 1, 97, 4 * n + 1}) {
      const auto ranks = test::on_all_ranks(n, [&](Position at) {
        return push_all_reduce({.at = at, .element_count = elements, .segment_elements = 3});
      });
      std::vector<std::vector<double>> data(static_cast<size_t>(n));
      for (int rank = 0; rank < n; ++rank) {
        for (int64_t i = 0; i < elements; ++i) data[static_cast<size_t>(rank)].push_back(contribution(rank, i));
      }
      for (uint32_t seed = 1; seed <= 3; ++seed) {
        const auto outcome = test::play(ranks, data, pair_up, seed);
        ASSERT_TRUE(outcome.finished);
        for (int rank = 0; rank < n; ++rank) {
          for (int64_t i = 0; i < elements; ++i) {
            ASSERT_EQ(outcome.data[static_cast<size_t>(rank)][static_cast<size_t>(i)],
                      tree(0, n, [&](int from) { return contribution(from, i); }) / n)
                << n << " ranks, rank " << rank << ", element " << i;
          }
        }
      }
    }
  }
}

TEST(PushAllReduce, IsOneReduceABlockAndNeedsNoScratch) {
  const Schedule schedule =
      push_all_reduce({.at = {.rank = 3, .world_size = 8}, .element_count = 8 * 100, .segment_elements = 30});
  EXPECT_EQ(schedule.scratch_elements, 0);
  int reduces = 0;
  for (const Action& action : schedule.actions) {
    if (action.kind != ActionKind::kReduce) continue;
    ++reduces;
    EXPECT_EQ(action.finality, Finality::kFinal);
    EXPECT_EQ(action.from.size(), 8U);
    EXPECT_EQ(action.to, action.from);
  }
  EXPECT_EQ(reduces, 4);
}

TEST(PushAllReduce, ExchangesDescriptorsWithAllEvenForNothing) {
  const Schedule schedule = push_all_reduce({.at = {.rank = 1, .world_size = 3}, .element_count = 0});
  EXPECT_EQ(schedule.sends_to, (std::vector<int>{0, 2}));
  EXPECT_EQ(schedule.receives_from, (std::vector<int>{0, 2}));
  EXPECT_TRUE(schedule.actions.empty());
}

}  // namespace
}  // namespace rondo::comm
