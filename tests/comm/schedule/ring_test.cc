#include "comm/schedule/ring.h"

#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

TEST(RingAllReduce, GivesEveryRankTheSumByChunkInAnyInterleaving) {
  test::expect_closed_form({.algorithm = "ring"}, {1, 2, 3, 5, 8, 13});
}

TEST(RingReduceScatter, GivesEveryRankItsChunkAndLeavesTheDataAlone) {
  test::expect_closed_form({.goal = Goal::kReduceScatter, .algorithm = "ring"}, {1, 2, 3, 5, 8, 13});
}

TEST(RingAllGather, GivesEveryRankAllChunks) {
  test::expect_closed_form({.goal = Goal::kAllGather, .algorithm = "ring"}, {1, 2, 3, 5, 8, 13});
}

TEST(RingAllReduce, NeedsOnlyOneSlotForOneSegment) {
  const test::Case c{.algorithm = "ring", .n = 4, .elements = 41, .segment = 41};
  auto ranks = test::schedules_of(c);
  for (Schedule& schedule : ranks) schedule.slots = 1;
  EXPECT_TRUE(test::gives_closed_form(c, ranks, 1));
}

TEST(RingAllReduce, SendsTwiceNMinusOneOverNOfTheElements) {
  const Schedule schedule =
      ring_all_reduce({.at = {.rank = 2, .world_size = 4}, .element_count = 400, .segment_elements = 30});
  EXPECT_EQ(test::elements_sent(schedule), 2 * 3 * 100);
  EXPECT_EQ(schedule.hop_count, 6);
  EXPECT_EQ(schedule.scratch_elements, 30);
}

TEST(RingReduceScatter, SendsHalfOfThatAndKeepsOneMorePartialSumThanSlots) {
  const Schedule schedule =
      ring_reduce_scatter({.at = {.rank = 2, .world_size = 4}, .element_count = 400, .segment_elements = 30});
  EXPECT_EQ(test::elements_sent(schedule), 3 * 100);
  EXPECT_EQ(schedule.hop_count, 3);
  EXPECT_EQ(schedule.scratch_elements, (schedule.slots + 1) * 30);
  EXPECT_EQ(schedule.result_elements, 100);
}

TEST(RingAllReduce, NamesItsNeighboursEvenForNothing) {
  const Schedule schedule = ring_all_reduce({.at = {.rank = 0, .world_size = 3}, .element_count = 0});
  EXPECT_EQ(schedule.sends_to, std::vector<int>{1});
  EXPECT_EQ(schedule.receives_from, std::vector<int>{2});
  EXPECT_TRUE(schedule.actions.empty());
  EXPECT_EQ(schedule.scratch_elements, 0);
  EXPECT_EQ(schedule.order, Order::kByChunk);
}

TEST(RingAllReduce, OnlyScalesWhenAlone) {
  const Schedule schedule = ring_all_reduce({.at = {}, .element_count = 7});
  ASSERT_EQ(schedule.actions.size(), 1U);
  EXPECT_EQ(schedule.actions[0].kind, ActionKind::kScale);
  EXPECT_EQ(schedule.actions[0].to[0].range, (Range{0, 7}));
  EXPECT_TRUE(schedule.sends_to.empty() && schedule.receives_from.empty());
}

TEST(RingAllReduce, HasSeveralSegmentsUnderWayAtOnce) {
  const Schedule schedule =
      ring_all_reduce({.at = {.rank = 1, .world_size = 4}, .element_count = 400, .segment_elements = 10});
  const auto first_receive = std::ranges::find(schedule.actions, ActionKind::kReceive, &Action::kind);
  EXPECT_EQ(first_receive - schedule.actions.begin(), schedule.slots);
}

}  // namespace
}  // namespace rondo::comm
