#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

TEST(ParameterServerAllReduce, SumsEveryElementInCanonicalOrder) {
  test::expect_closed_form({.algorithm = "parameter-server"}, {1, 2, 3, 4, 5, 8, 11});
}

TEST(ParameterServerAllReduce, RoundsOperandsAndResultOnceOnANarrowWire) {
  test::expect_closed_form({.algorithm = "parameter-server", .wire = Wire::kNarrow}, {1, 2, 3, 4, 5, 8, 11});
}

TEST(ParameterServerAllReduce, LoadsRankZeroWithEverything) {
  const auto at = [](int rank) {
    return parameter_server_all_reduce(
        {.at = {.rank = rank, .world_size = 5}, .element_count = 100, .segment_elements = 30});
  };
  EXPECT_EQ(test::elements_sent(at(0)), 4 * 100);
  EXPECT_EQ(test::count_of(at(0), ActionKind::kReduce), 4);
  EXPECT_EQ(test::elements_sent(at(3)), 100);
  EXPECT_EQ(test::count_of(at(3), ActionKind::kReduce), 0);
  EXPECT_EQ(test::peers_of(at(3), ActionKind::kSend), std::vector<int>{0});
}

}  // namespace
}  // namespace rondo::comm
