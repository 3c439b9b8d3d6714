#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

TEST(PushAllReduce, SumsEveryElementInCanonicalOrder) {
  test::expect_closed_form({.algorithm = "push"}, {1, 2, 3, 4, 5, 6, 7, 8, 11, 16});
}

TEST(PushAllReduce, IsOneReduceABlockAndNeedsNoScratch) {
  const Schedule schedule =
      push_all_reduce({.at = {.rank = 3, .world_size = 8}, .element_count = 8 * 100, .segment_elements = 30});
  EXPECT_EQ(schedule.scratch_elements, 0);
  EXPECT_EQ(test::count_of(schedule, ActionKind::kReduce), 4);
  for (const Action& action : schedule.actions) {
    if (action.kind != ActionKind::kReduce) continue;
    EXPECT_EQ(action.finality, Finality::kFinal);
    EXPECT_EQ(action.from.size(), 8U);
    EXPECT_EQ(action.to, action.from);
  }
}

TEST(PushAllReduce, ExchangesDescriptorsWithAllEvenForNothing) {
  const Schedule schedule = push_all_reduce({.at = {.rank = 1, .world_size = 3}, .element_count = 0});
  EXPECT_EQ(schedule.sends_to, (std::vector<int>{0, 2}));
  EXPECT_EQ(schedule.receives_from, (std::vector<int>{0, 2}));
  EXPECT_TRUE(schedule.actions.empty());
}

}  // namespace
}  // namespace rondo::comm
