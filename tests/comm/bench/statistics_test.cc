#include "comm/bench/statistics.h"

#include <gtest/gtest.h>

#include <numeric>

namespace rondo::bench {
namespace {

std::vector<double> up_to(int count) {
  std::vector<double> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 1.0);
  return values;
}

TEST(Statistics, PercentilesAreNearestRanks) {
  const auto hundred = up_to(100);
  EXPECT_EQ(percentile(hundred, 50), 50);
  EXPECT_EQ(percentile(hundred, 99), 99);
  EXPECT_EQ(percentile(hundred, 100), 100);
  EXPECT_EQ(percentile(hundred, 0), 1);
  const auto five = up_to(5);
  EXPECT_EQ(percentile(five, 50), 3);
  EXPECT_EQ(percentile(five, 99), 5) << "of fewer than a hundred the p99 is the greatest";
  EXPECT_EQ(percentile(up_to(1), 50), 1);
}

TEST(Statistics, SummaryDoesNotDependOnTheOrderOfSamples) {
  const Summary summary = summarise({5, 1, 4, 2, 3});
  EXPECT_EQ(summary.min, 1);
  EXPECT_EQ(summary.p50, 3);
  EXPECT_EQ(summary.p99, 5);
  EXPECT_EQ(summary.max, 5);
  EXPECT_EQ(summarise({}).max, 0);
}

TEST(Statistics, MedianOfAnEvenCountLiesBetweenTheMiddleTwo) {
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({}), 0);
}

TEST(Statistics, OneSlowRoundMovesOnlyTheGreatest) {
  const std::vector<Summary> rounds{{.min = 2, .p50 = 10, .p99 = 20, .max = 30},
                                    {.min = 1, .p50 = 11, .p99 = 21, .max = 31},
                                    {.min = 3, .p50 = 500, .p99 = 900, .max = 1000}};
  const Summary all = over_rounds(rounds);
  EXPECT_EQ(all.min, 1);
  EXPECT_EQ(all.p50, 11);
  EXPECT_EQ(all.p99, 21);
  EXPECT_EQ(all.max, 1000);
}

TEST(Statistics, AGigabyteInAThousandMicrosecondsIsATerabyteASecond) {
  EXPECT_DOUBLE_EQ(gigabytes_per_second(1e9, 1000), 1000);
  EXPECT_EQ(gigabytes_per_second(1e9, 0), 0);
}

}  // namespace
}  // namespace rondo::bench
