#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

TEST(HalvingAllReduce, SumsInCanonicalOrderWhenTheRanksAreAPowerOfTwo) {
  for (const int n : {1, 2, 4, 8, 16}) {
    EXPECT_EQ(halving_all_reduce({.at = {.rank = 0, .world_size = n}}).order, Order::kCanonical);
  }
  test::expect_closed_form({.algorithm = "halving"}, {1, 2, 4, 8, 16});
}

TEST(HalvingAllReduce, FoldsNeighboursFirstWhenTheyAreNot) {
  test::expect_closed_form({.algorithm = "halving"}, {3, 5, 6, 7, 9, 11, 13});
}

TEST(HalvingAllReduce, SaysWhereFoldingIsNotCanonical) {
  const auto order = [](int n) { return halving_all_reduce({.at = {.rank = 0, .world_size = n}}).order; };
  EXPECT_EQ(order(3), Order::kCanonical);
  EXPECT_EQ(order(5), Order::kFolded);  // ((0+1) + 2) + (3+4)
  EXPECT_EQ(order(6), Order::kCanonical);
  EXPECT_EQ(order(7), Order::kCanonical);
  EXPECT_EQ(order(9), Order::kFolded);
  EXPECT_EQ(order(12), Order::kCanonical);
}

TEST(HalvingAllReduce, SendsHalfThenAQuarterThenAnEighthAndBack) {
  const Schedule schedule =
      halving_all_reduce({.at = {.rank = 5, .world_size = 8}, .element_count = 80, .segment_elements = 64});
  std::vector<int64_t> sent;
  std::vector<int> peers;
  for (const Action& action : schedule.actions) {
    if (action.kind != ActionKind::kSend) continue;
    sent.push_back(action.from[0].range.count());
    peers.push_back(action.peer);
  }
  EXPECT_EQ(sent, (std::vector<int64_t>{40, 20, 10, 10, 20, 40}));
  EXPECT_EQ(peers, (std::vector<int>{4, 7, 1, 1, 7, 4}));
}

TEST(HalvingAllReduce, LetsTheOddRankOfAPairSitOut) {
  const Schedule schedule =
      halving_all_reduce({.at = {.rank = 1, .world_size = 5}, .element_count = 30, .segment_elements = 30});
  ASSERT_EQ(schedule.actions.size(), 2U);
  EXPECT_EQ(schedule.actions[0].kind, ActionKind::kSend);
  EXPECT_EQ(schedule.actions[1].kind, ActionKind::kReceive);
  EXPECT_EQ(test::peers_of(schedule, ActionKind::kSend), std::vector<int>{0});
}

}  // namespace
}  // namespace rondo::comm
