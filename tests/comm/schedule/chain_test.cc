#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/play.h"

namespace rondo::comm {
namespace {

TEST(ChainBroadcast, GivesEveryRankTheDataOfTheRoot) {
  for (const int n : {1, 2, 3, 5, 8}) {
    for (const int64_t elements : {0, 1, 3, 4, 97}) {
      for (int root = 0; root < n; ++root) {
        const auto ranks = test::on_all_ranks(n, [&](Position at) {
          return chain_broadcast({.at = at, .element_count = elements, .segment_elements = 3, .root = root});
        });
        std::vector<std::vector<double>> data(static_cast<size_t>(n));
        for (int rank = 0; rank < n; ++rank) {
          for (int64_t i = 0; i < elements; ++i)
            data[static_cast<size_t>(rank)].push_back(1000.0 * rank + static_cast<double>(i));
        }
        const auto expected = data[static_cast<size_t>(root)];
        const auto outcome = test::play(ranks, data, std::plus<>(), 3);
        ASSERT_TRUE(outcome.finished);
        for (const auto& values : outcome.data) ASSERT_EQ(values, expected) << n << " ranks, root " << root;
      }
    }
  }
}

TEST(ChainBroadcast, OnlyTheEndsHaveOneNeighbour) {
  const auto at = [](int rank) { return chain_broadcast({.at = {.rank = rank, .world_size = 3}, .root = 1}); };
  EXPECT_EQ(at(1).sends_to, std::vector<int>{2});
  EXPECT_TRUE(at(1).receives_from.empty());
  EXPECT_EQ(at(2).sends_to, std::vector<int>{0});
  EXPECT_EQ(at(2).receives_from, std::vector<int>{1});
  EXPECT_TRUE(at(0).sends_to.empty());
  EXPECT_EQ(at(0).receives_from, std::vector<int>{2});
}

}  // namespace
}  // namespace rondo::comm
