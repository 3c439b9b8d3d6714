#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

TEST(ChainAllReduce, SumsEveryElementFromTheLeft) {
  test::expect_closed_form({.algorithm = "chain"}, {1, 2, 3, 4, 5, 8, 13});
}

TEST(ChainAllReduce, KeepsBothWaysBusy) {
  const Schedule schedule =
      chain_all_reduce({.at = {.rank = 2, .world_size = 4}, .element_count = 60, .segment_elements = 3});
  // Rank 2 of 4: a segment is back two segments after it went up.
  std::vector<int> arrivals;
  for (const Action& action : schedule.actions) {
    if (action.kind == ActionKind::kReceive) arrivals.push_back(action.peer);
  }
  const std::vector<int> begin(arrivals.begin(), arrivals.begin() + 7);
  EXPECT_EQ(begin, (std::vector<int>{1, 1, 1, 3, 1, 3, 1}));
  EXPECT_EQ(test::elements_sent(schedule), 2 * 60);
  EXPECT_EQ(schedule.hop_count, 6);
}

TEST(ChainBroadcast, GivesEveryRankTheDataOfAnyRoot) {
  for (int root = 0; root < 5; ++root) {
    test::expect_closed_form({.goal = Goal::kBroadcast, .algorithm = "chain", .root = root}, {5, 8});
  }
  test::expect_closed_form({.goal = Goal::kBroadcast, .algorithm = "chain"}, {1, 2, 3});
}

TEST(ChainBroadcast, OnlyTheEndsHaveOneNeighbourToExchangeDataWith) {
  const auto peers_of = [](int rank, ActionKind kind) {
    return test::peers_of(chain_broadcast({.at = {.rank = rank, .world_size = 3}, .element_count = 1, .root = 1}),
                          kind);
  };
  EXPECT_EQ(peers_of(1, ActionKind::kSend), std::vector<int>{2});
  EXPECT_TRUE(peers_of(1, ActionKind::kReceive).empty());
  EXPECT_EQ(peers_of(2, ActionKind::kSend), std::vector<int>{0});
  EXPECT_EQ(peers_of(2, ActionKind::kReceive), std::vector<int>{1});
  EXPECT_TRUE(peers_of(0, ActionKind::kSend).empty());
  EXPECT_EQ(peers_of(0, ActionKind::kReceive), std::vector<int>{2});
}

}  // namespace
}  // namespace rondo::comm
