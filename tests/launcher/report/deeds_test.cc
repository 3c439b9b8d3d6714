#include "launcher/report/deeds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using testing::ElementsAre;

comm::FlightRecord call(uint64_t sequence, uint64_t called_ns) {
  return {.group = 1,
          .sequence = sequence,
          .element_count = 20,
          .tag = "bucket " + std::to_string(sequence),
          .called_ns = called_ns,
          .ended_ns = called_ns + 1};
}

TEST(Deeds, AreTheOldestUnfinishedCallElseTheLastFinished) {
  Explanation explanation;
  explanation.standings = {
      {.rank = 0, .group = "world", .current = call(8, 500), .last_finished = call(7, 400)},
      {.rank = 0, .group = "model", .current = call(3, 450), .last_finished = {}},
      {.rank = 1, .group = "world", .current = {}, .last_finished = call(7, 400)},
      {.rank = 2, .group = "world", .current = {}, .last_finished = {}},
  };
  const auto all = deeds(explanation);
  EXPECT_EQ(all.at(0), "in all_reduce of 20 float32, sum, tag \"bucket 3\" (sequence 3 of group \"model\")");
  EXPECT_EQ(
      all.at(1),
      "in no collective; the last that it finished: all_reduce of 20 float32, sum, tag \"bucket 7\" (sequence 7 of "
      "group \"world\")");
  EXPECT_EQ(all.at(2), "in no collective yet");
}

TEST(Deeds, OfRanksThatDidTheSameAreOneLine) {
  std::vector<RankStory> ranks(5);
  for (int i = 0; i < 5; ++i) ranks[static_cast<size_t>(i)].rank = i;
  ranks[0].doing = ranks[1].doing = ranks[3].doing = "in barrier";
  ranks[2].doing = "in no collective yet";  // nothing is known of rank 4
  EXPECT_THAT(deed_lines(ranks), ElementsAre("ranks 0, 1 and 3: in barrier", "rank 2: in no collective yet"));
}

}  // namespace
}  // namespace rondo::launcher
