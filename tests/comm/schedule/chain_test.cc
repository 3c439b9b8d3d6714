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

TEST(ChainBroadcast, OnlyTheEndsHaveOneNeighbourToExchangeDataWith) {
  const auto peers_of = [](int rank, ActionKind kind) {
    std::vector<int> peers;
    const auto schedule =
        chain_broadcast({.at = {.rank = rank, .world_size = 3}, .element_count = 1, .segment_elements = 1, .root = 1});
    for (const Action& action : schedule.actions) {
      if (action.kind == kind) peers.push_back(action.peer);
    }
    return peers;
  };
  EXPECT_EQ(peers_of(1, ActionKind::kSend), std::vector<int>{2});
  EXPECT_TRUE(peers_of(1, ActionKind::kReceive).empty());
  EXPECT_EQ(peers_of(2, ActionKind::kSend), std::vector<int>{0});
  EXPECT_EQ(peers_of(2, ActionKind::kReceive), std::vector<int>{1});
  EXPECT_TRUE(peers_of(0, ActionKind::kSend).empty());
  EXPECT_EQ(peers_of(0, ActionKind::kReceive), std::vector<int>{2});
}

TEST(ChainBroadcast, DescriptorsGoToBothRingNeighboursWhoeverTheRootIs) {
  for (int root = 0; root < 4; ++root) {
    const auto schedule = chain_broadcast({.at = {.rank = 0, .world_size = 4}, .root = root});
    EXPECT_EQ(schedule.sends_to, (std::vector<int>{1, 3}));
    EXPECT_EQ(schedule.receives_from, (std::vector<int>{1, 3}));
  }
  EXPECT_EQ(chain_broadcast({.at = {.rank = 1, .world_size = 2}, .root = 0}).sends_to, std::vector<int>{0});
  EXPECT_TRUE(chain_broadcast({.at = {.rank = 0, .world_size = 1}, .root = 0}).sends_to.empty());
}

}  // namespace
}  // namespace rondo::comm
