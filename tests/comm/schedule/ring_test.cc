#include "comm/schedule/ring.h"

#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/play.h"

namespace rondo::comm {
namespace {

constexpr double contribution(int rank, int64_t index) { return (rank + 1) * 1000.0 + static_cast<double>(index % 97); }
constexpr double mean_over_ranks(int n, int64_t index) {
  return (n + 1) / 2.0 * 1000 + static_cast<double>(index % 97);
}

std::vector<std::vector<double>> contributions(int n, int64_t elements) {
  std::vector<std::vector<double>> data(static_cast<size_t>(n));
  for (int rank = 0; rank < n; ++rank) {
    for (int64_t i = 0; i < elements; ++i) data[static_cast<size_t>(rank)].push_back(contribution(rank, i));
  }
  return data;
}

TEST(RingAllReduce, GivesEveryRankTheMeanOfAllInAnyInterleaving) {
  for (const int n : {1, 2, 3, 5, 8, 13}) {
    for (const int64_t elements : {0, 1, n - 1, n, n + 1, 97, 3 * n + 1, 211}) {
      const auto ranks = test::on_all_ranks(n, [&](Position at) {
        return ring_all_reduce({.at = at, .element_count = elements, .segment_elements = 3});
      });
      for (uint32_t seed = 1; seed <= 3; ++seed) {
        const auto outcome = test::play(ranks, contributions(n, elements), std::plus<>(), seed);
        ASSERT_TRUE(outcome.finished) << n << " ranks, " << elements << " elements, seed " << seed;
        for (int rank = 0; rank < n; ++rank) {
          for (int64_t i = 0; i < elements; ++i) {
            ASSERT_EQ(outcome.data[static_cast<size_t>(rank)][static_cast<size_t>(i)], mean_over_ranks(n, i))
                << n << " ranks, rank " << rank << ", element " << i;
          }
        }
      }
    }
  }
}

TEST(RingAllReduce, NeedsOnlyOneSlotForOneSegment) {
  auto ranks = test::on_all_ranks(4, [](Position at) { return ring_all_reduce({.at = at, .element_count = 41}); });
  for (Schedule& schedule : ranks) schedule.slots = 1;
  EXPECT_TRUE(test::play(ranks, contributions(4, 41), std::plus<>(), 1).finished);
}

TEST(RingAllReduce, SendsTwiceNMinusOneOverNOfTheElements) {
  const Schedule schedule =
      ring_all_reduce({.at = {.rank = 2, .world_size = 4}, .element_count = 400, .segment_elements = 30});
  int64_t sent = 0;
  for (const Action& action : schedule.actions) {
    if (action.kind == ActionKind::kSend) sent += action.from[0].range.count();
  }
  EXPECT_EQ(sent, 2 * 3 * 100);
  EXPECT_EQ(schedule.hop_count, 6);
  EXPECT_EQ(schedule.scratch_elements, 30);
}

TEST(RingAllReduce, NamesItsNeighboursEvenForNothing) {
  const Schedule schedule = ring_all_reduce({.at = {.rank = 0, .world_size = 3}, .element_count = 0});
  EXPECT_EQ(schedule.sends_to, std::vector<int>{1});
  EXPECT_EQ(schedule.receives_from, std::vector<int>{2});
  EXPECT_TRUE(schedule.actions.empty());
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
  int sends_before_first_receive = 0;
  for (const Action& action : schedule.actions) {
    if (action.kind == ActionKind::kReceive) break;
    ++sends_before_first_receive;
  }
  EXPECT_EQ(sends_before_first_receive, schedule.slots);
}

TEST(RingAllGather, GivesEveryRankAllBlocks) {
  for (const int n : {1, 2, 3, 5, 8, 13}) {
    for (const int64_t block : {0, 1, 2, 7, 31}) {
      const int64_t elements = block * n;
      const auto ranks = test::on_all_ranks(n, [&](Position at) {
        return ring_all_gather({.at = at, .element_count = elements, .segment_elements = 3});
      });
      std::vector<std::vector<double>> data(static_cast<size_t>(n),
                                            std::vector<double>(static_cast<size_t>(elements), -1));
      for (int rank = 0; rank < n; ++rank) {
        for (int64_t i = rank * block; i < (rank + 1) * block; ++i) {
          data[static_cast<size_t>(rank)][static_cast<size_t>(i)] = contribution(rank, i);
        }
      }
      const auto outcome = test::play(ranks, data, std::plus<>(), 7);
      ASSERT_TRUE(outcome.finished);
      for (int rank = 0; rank < n; ++rank) {
        for (int64_t i = 0; i < elements; ++i) {
          ASSERT_EQ(outcome.data[static_cast<size_t>(rank)][static_cast<size_t>(i)],
                    contribution(static_cast<int>(i / block), i));
        }
      }
    }
  }
}

}  // namespace
}  // namespace rondo::comm
