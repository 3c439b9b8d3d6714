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
