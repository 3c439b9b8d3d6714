/// The offset of a clock from messages, on clocks whose truth is known.
#include "trainer/trace/clock_offset.h"

#include <gtest/gtest.h>

#include "tests/support/run_ranks.h"

namespace rondo::trainer {
namespace {

/// A round that begins at `begin` of rank 0's clock. The other's clock shows `offset` less; messages take `there` (from
/// rank 0) and `back`.
ClockRound round_of(int64_t begin, int64_t offset, int64_t there, int64_t back) {
  return {.zero = {.sent_ns = begin, .received_ns = begin + back},
          .other = {.sent_ns = begin - offset, .received_ns = begin + there - offset}};
}

TEST(ClockOffset, IsExactWhenBothWaysTakeEqualTime) {
  for (const int64_t offset : {int64_t{0}, int64_t{123'456'789}, int64_t{-987'654'321'000}}) {
    const ClockOffset found = estimate_offset({round_of(1'000'000, offset, 40'000, 40'000)});
    EXPECT_EQ(found.offset_ns, offset);
    EXPECT_EQ(found.error_ns, 40'000);
  }
}

TEST(ClockOffset, TruthIsWithinTheErrorHoweverUnequalTheWaysAre) {
  constexpr int64_t kOffset = 5'000'000'000;
  for (int64_t there = 1'000; there < 1'000'000; there = there * 3 + 7) {
    for (int64_t back = 1'000; back < 1'000'000; back = back * 5 + 3) {
      const ClockOffset found = estimate_offset({round_of(77, kOffset, there, back)});
      EXPECT_LE(std::abs(found.offset_ns - kOffset), found.error_ns) << there << " there, " << back << " back";
      EXPECT_LE(found.error_ns, (there + back + 1) / 2);
    }
  }
}

TEST(ClockOffset, QuickestMessagesOfAllRoundsCount) {
  const ClockOffset found = estimate_offset({round_of(0, 1'000, 900'000, 500), round_of(2'000'000, 1'000, 500, 800'000),
                                             round_of(4'000'000, 1'000, 70'000, 90'000)});
  EXPECT_EQ(found.offset_ns, 1'000);
  EXPECT_EQ(found.error_ns, 500);
}

TEST(ClockOffset, RanksUnderOneKernelShareAClock) {
  test::run_ranks(3, [](comm::Group& group) {
    const auto offset = measure_clock_offset(group);
    ASSERT_TRUE(offset.ok()) << offset.status().text();
    EXPECT_EQ(offset->offset_ns, 0);
    EXPECT_EQ(offset->error_ns, 0);
  });
}

// The exchange itself, which ranks under one kernel do not need: there the truth is known to be zero.
TEST(ClockOffset, ExchangeBoundsTheTruth) {
  test::run_ranks(3, [](comm::Group& group) {
    const auto offset = exchange_clocks(group);
    ASSERT_TRUE(offset.ok()) << offset.status().text();
    EXPECT_LE(std::abs(offset->offset_ns), offset->error_ns);
    if (group.rank() == 0) {
      EXPECT_EQ(offset->offset_ns, 0);
    } else {
      EXPECT_GT(offset->error_ns, 0);
    }
  });
}

}  // namespace
}  // namespace rondo::trainer
