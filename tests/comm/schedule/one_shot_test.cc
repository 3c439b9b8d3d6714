#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

TEST(OneShotAllReduce, SumsEveryElementInCanonicalOrderOnEveryRank) {
  test::expect_closed_form({.algorithm = "one-shot"}, {1, 2, 3, 4, 5, 7, 8, 11});
}

TEST(OneShotAllReduce, RoundsAsIfTheSumHadTravelled) {
  test::expect_closed_form({.algorithm = "one-shot", .wire = Wire::kNarrow}, {1, 2, 3, 4, 5, 7, 8});
}

TEST(OneShotAllReduce, SendsEverythingToEveryoneInOneHop) {
  const Schedule schedule =
      one_shot_all_reduce({.at = {.rank = 1, .world_size = 4}, .element_count = 40, .segment_elements = 64});
  EXPECT_EQ(test::elements_sent(schedule), 3 * 40);
  EXPECT_EQ(schedule.hop_count, 1);
  EXPECT_EQ(test::count_of(schedule, ActionKind::kReduce), 1);
  EXPECT_EQ(schedule.scratch_elements, (3 + 1) * 40) << "an operand a peer and the copy that is sent";
}

}  // namespace
}  // namespace rondo::comm
