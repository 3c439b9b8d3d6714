#include "comm/sim/injector.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <cmath>

namespace rondo::comm {
namespace {

constexpr uint64_t kPoints = 20'000;

FaultPoint point(uint64_t nth) { return {.rank = 1, .peer = 2, .act = Act::kSend, .nth = nth, .sequence = 3}; }

FaultPlan plan_of(FaultKind kind, int rate, uint64_t seed = 1) {
  FaultPlan plan{.seed = seed};
  plan.rate(kind) = rate;
  return plan;
}

TEST(Injector, DecidesByTheSeedAndThePointNotByTheOrderOfAsking) {
  Injector forward(plan_of(FaultKind::kDelay, 3000)), backward(plan_of(FaultKind::kDelay, 3000));
  Injector other(plan_of(FaultKind::kDelay, 3000, 2));
  std::vector<bool> first(kPoints), second(kPoints);
  int differ = 0;
  for (uint64_t i = 0; i < kPoints; ++i) first[i] = forward.strikes(FaultKind::kDelay, point(i));
  for (uint64_t i = kPoints; i-- > 0;) second[i] = backward.strikes(FaultKind::kDelay, point(i));
  for (uint64_t i = 0; i < kPoints; ++i) differ += other.strikes(FaultKind::kDelay, point(i)) != first[i] ? 1 : 0;
  EXPECT_EQ(first, second);
  EXPECT_GT(differ, 0);
}

TEST(Injector, EveryPartOfAPointCounts) {
  const Injector injector(plan_of(FaultKind::kFlip, 5000));
  std::vector<FaultPoint> points(8, point(7));
  points[1].rank = 4;
  points[2].peer = 4;
  points[3].act = Act::kReceive;
  points[4].nth = 8;
  points[5].sequence = 4;
  points[6].hop = 1;
  points[7].segment = 1;
  for (size_t i = 1; i < points.size(); ++i) {
    EXPECT_NE(injector.draw(FaultKind::kFlip, points[i], 1 << 30), injector.draw(FaultKind::kFlip, points[0], 1 << 30))
        << i;
  }
  EXPECT_NE(injector.draw(FaultKind::kDrop, points[0], 1 << 30), injector.draw(FaultKind::kFlip, points[0], 1 << 30));
}

TEST(Injector, StrikesAboutAsOftenAsItsRateSays) {
  for (const int rate : {0, 10, 500, 5000, 10'000}) {
    Injector injector(plan_of(FaultKind::kShort, rate));
    uint64_t struck = 0;
    for (uint64_t i = 0; i < kPoints; ++i) struck += injector.strikes(FaultKind::kShort, point(i)) ? 1 : 0;
    const double expected = static_cast<double>(kPoints) * rate / 10'000;
    EXPECT_NEAR(static_cast<double>(struck), expected, 5 * std::sqrt(expected) + 0.5) << rate;
    EXPECT_EQ(injector.counts()[static_cast<size_t>(FaultKind::kShort)], struck);
    EXPECT_FALSE(injector.would_strike(FaultKind::kDelay, point(0)));
  }
}

TEST(Injector, APlannedFaultStrikesExactlyThere) {
  FaultPlan plan;
  plan.planned.push_back({.kind = FaultKind::kDrop, .rank = 1, .peer = 2, .act = Act::kWrite, .nth = 5, .sequence = 0});
  Injector injector(plan);
  for (uint64_t connection = 0; connection < 3; ++connection) {
    for (uint64_t block = 0; block < 10; ++block) {
      const FaultPoint there{.rank = 1, .peer = 2, .act = Act::kWrite, .nth = block, .sequence = connection};
      EXPECT_EQ(injector.strikes(FaultKind::kDrop, there), connection == 0 && block == 5);
    }
  }
  ASSERT_EQ(injector.strikes_so_far().size(), 1u);
  EXPECT_EQ(injector.strikes_so_far()[0].kind, FaultKind::kDrop);
  EXPECT_EQ(injector.story(), "  drop: rank 1 -> 2, write, block 5 of connection 0\n");
}

TEST(Injector, DrawsDurationsAndCallsWithinThePlansBounds) {
  FaultPlan plan = plan_of(FaultKind::kDelay, 10'000);
  plan.delay_most = std::chrono::microseconds(70);
  plan.storm_most = 3;
  const Injector injector(plan);
  Duration longest{0};
  for (uint64_t i = 0; i < 500; ++i) {
    const Duration drawn = injector.draw_duration(FaultKind::kDelay, point(i));
    EXPECT_GT(drawn, Duration(0));
    EXPECT_LE(drawn, plan.delay_most);
    longest = std::max(longest, drawn);
    EXPECT_GE(injector.draw_calls(FaultKind::kAgain, point(i)), 1);
    EXPECT_LE(injector.draw_calls(FaultKind::kAgain, point(i)), 3);
  }
  EXPECT_GT(longest, std::chrono::microseconds(60));
}

TEST(Injector, ARankIsKilledOnce) {
  Injector injector(FaultPlan{});
  std::vector<int> killed;
  injector.on_kill([&](int rank) { killed.push_back(rank); });
  EXPECT_FALSE(injector.killed(3));
  injector.kill(3);
  injector.kill(3);
  EXPECT_TRUE(injector.killed(3));
  EXPECT_FALSE(injector.killed(2));
  EXPECT_EQ(killed, std::vector<int>{3});
}

}  // namespace
}  // namespace rondo::comm
