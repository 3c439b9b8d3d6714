#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

const std::vector<int> kWorldSizes{1, 2, 3, 4, 5, 7, 8, 11};

TEST(DirectAllReduce, SumsEveryElementInCanonicalOrder) {
  test::expect_closed_form({.algorithm = "direct"}, kWorldSizes);
}

TEST(DirectAllReduce, RoundsOperandsAndResultOnceOnANarrowWire) {
  test::expect_closed_form({.algorithm = "direct", .wire = Wire::kNarrow}, kWorldSizes);
}

TEST(DirectReduceScatter, GivesEveryRankItsChunkAndLeavesTheDataAlone) {
  test::expect_closed_form({.goal = Goal::kReduceScatter, .algorithm = "direct"}, kWorldSizes);
  test::expect_closed_form({.goal = Goal::kReduceScatter, .algorithm = "direct", .wire = Wire::kNarrow}, kWorldSizes);
}

TEST(DirectAllGather, GivesEveryRankAllChunks) {
  test::expect_closed_form({.goal = Goal::kAllGather, .algorithm = "direct"}, kWorldSizes);
}

TEST(DirectBroadcast, GivesEveryRankTheDataOfAnyRoot) {
  for (int root = 0; root < 5; ++root) {
    test::expect_closed_form({.goal = Goal::kBroadcast, .algorithm = "direct", .root = root}, {5, 8});
  }
}

TEST(DirectAllReduce, SendsAsFewElementsAsTheRingInTwoHops) {
  const Schedule schedule =
      direct_all_reduce({.at = {.rank = 1, .world_size = 4}, .element_count = 400, .segment_elements = 30});
  EXPECT_EQ(test::elements_sent(schedule), 2 * 3 * 100);
  EXPECT_EQ(schedule.hop_count, 2);
  EXPECT_EQ(test::count_of(schedule, ActionKind::kReduce), 4);
  EXPECT_EQ(schedule.scratch_elements, 3 * 30);
  EXPECT_EQ(schedule.wire_elements, 0);
}

TEST(DirectAllReduce, TakesNoMoreScratchThanASmallBufferNeeds) {
  const Schedule schedule = direct_all_reduce({.at = {.rank = 1, .world_size = 4}, .element_count = 10});
  EXPECT_EQ(schedule.scratch_elements, 3 * 3);
}

// Segment g goes out before g - 1 is summed, and the results of g - 1 come in before g is.
TEST(DirectAllReduce, OverlapsNeighbouringSegments) {
  const Schedule schedule =
      direct_all_reduce({.at = {.rank = 0, .world_size = 2}, .element_count = 60, .segment_elements = 3});
  const auto find = [&](ActionKind kind, int hop, int segment) {
    return std::ranges::find_if(schedule.actions, [&](const Action& action) {
      return action.kind == kind && action.hop == hop && action.segment == segment;
    });
  };
  for (int g = 2; g < 9; ++g) {
    EXPECT_LT(find(ActionKind::kSend, 0, g + 1), find(ActionKind::kReduce, 0, g)) << g;
    EXPECT_LT(find(ActionKind::kReceive, 0, g), find(ActionKind::kReceive, 1, g - 1)) << g;
    EXPECT_LT(find(ActionKind::kReceive, 1, g - 1), find(ActionKind::kReduce, 0, g)) << g;
    EXPECT_LT(find(ActionKind::kReduce, 0, g), find(ActionKind::kSend, 1, g)) << g;
  }
}

TEST(DirectBroadcast, OnlyTheRootSends) {
  const auto peers = [](int rank, ActionKind kind) {
    return test::peers_of(direct_broadcast({.at = {.rank = rank, .world_size = 3}, .element_count = 1, .root = 1}),
                          kind);
  };
  EXPECT_EQ(peers(1, ActionKind::kSend), (std::vector<int>{0, 2}));
  EXPECT_TRUE(peers(1, ActionKind::kReceive).empty());
  EXPECT_EQ(peers(2, ActionKind::kReceive), std::vector<int>{1});
  EXPECT_TRUE(peers(2, ActionKind::kSend).empty());
}

}  // namespace
}  // namespace rondo::comm
