#include "comm/sim/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <map>

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

/// Which cursor was asked when, for 12 cursors that each move 40 times.
std::vector<int> turns_of(const SchedulerOptions& options, uint64_t* trace_hash = nullptr) {
  const auto world = SimWorld::make();
  const auto trace = std::make_shared<Trace>();
  Scheduler scheduler(world, options, trace);
  std::vector<int> asked;
  for (int i = 0; i < 12; ++i) {
    scheduler.add([&asked, i, left = 40](TimePoint) mutable {
      asked.push_back(i);
      return left-- > 0 ? Progress::kProgressed : Progress::kDone;
    });
  }
  EXPECT_EQ(scheduler.run(10s), Scheduler::Outcome::kAllDone);
  if (trace_hash != nullptr) *trace_hash = trace->hash();
  return asked;
}

TEST(Scheduler, TheSameSeedGivesTheSameTurnsAndAnotherSeedOthers) {
  uint64_t first = 0, again = 0, other = 0;
  const auto turns = turns_of({.seed = 1, .burst_most = 3}, &first);
  EXPECT_EQ(turns, turns_of({.seed = 1, .burst_most = 3}, &again));
  EXPECT_NE(turns, turns_of({.seed = 2, .burst_most = 3}, &other));
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Scheduler, InTurnIsThePlainRound) {
  const auto turns = turns_of({.order = SchedulerOptions::Order::kInTurn});
  for (size_t i = 0; i < turns.size(); ++i) ASSERT_EQ(turns[i], static_cast<int>(i % 12));
}

TEST(Scheduler, ACursorThatMovesMayBeAskedSeveralTimesInARow) {
  const auto turns = turns_of({.burst_most = 5});
  size_t longest = 0, run = 0;
  for (size_t i = 1; i < turns.size(); ++i) {
    run = turns[i] == turns[i - 1] ? run + 1 : 0;
    longest = std::max(longest, run + 1);
  }
  EXPECT_GE(longest, 4u);
}

TEST(Scheduler, AStarvedCursorIsNotAskedForAWhileButInTheEnd) {
  const auto world = SimWorld::make();
  Scheduler scheduler(world, {.starve_per_thousand = 100, .starve_most = 20ms});
  std::map<int, TimePoint> last;
  Duration longest{0};
  for (int i = 0; i < 4; ++i) {
    scheduler.add([&, i, left = 300](TimePoint now) mutable {
      if (last.count(i) != 0) longest = std::max(longest, now - last[i]);
      last[i] = now;
      return left-- > 0 ? Progress::kProgressed : Progress::kDone;
    });
  }
  EXPECT_EQ(scheduler.run(60s), Scheduler::Outcome::kAllDone);
  EXPECT_GT(longest, 15ms);
  EXPECT_LT(longest, 100ms);
}

TEST(Scheduler, VirtualTimeEndsAHangAndTheStuckAreNamed) {
  const auto world = SimWorld::make();
  Scheduler scheduler(world, {});
  scheduler.add([](TimePoint) { return Progress::kDone; });
  scheduler.add([](TimePoint) { return Progress::kBlocked; });
  const TimePoint begin = world->now();
  EXPECT_EQ(scheduler.run(30s), Scheduler::Outcome::kHang);
  EXPECT_GE(world->now() - begin, 30s);
  EXPECT_LT(world->now() - begin, 31s);
  EXPECT_EQ(scheduler.unfinished(), std::vector<int>{1});
  EXPECT_LT(scheduler.turns(), 20'000u);  // time passes faster while nobody moves
}

TEST(Scheduler, ADoneCursorIsAskedUntilAllAreDoneARemovedOneNeverAgain) {
  const auto world = SimWorld::make();
  Scheduler scheduler(world, {});
  int asked_done = 0, asked_removed = 0;
  scheduler.add([&](TimePoint) {
    ++asked_done;
    return Progress::kDone;
  });
  const int removed = scheduler.add([&](TimePoint) {
    ++asked_removed;
    return Progress::kBlocked;
  });
  int rounds = 0;
  scheduler.add([&](TimePoint) {
    if (++rounds == 5) scheduler.remove(removed);
    return rounds < 50 ? Progress::kProgressed : Progress::kDone;
  });
  EXPECT_EQ(scheduler.run(1s), Scheduler::Outcome::kAllDone);
  EXPECT_GE(asked_done, 49);
  EXPECT_LE(asked_removed, 5);
}

TEST(Scheduler, AnAlarmRingsAtItsTimeAndMaySetAnother) {
  const auto world = SimWorld::make();
  Scheduler scheduler(world, {.tick = 1ms, .tick_most = 1ms});
  const TimePoint begin = world->now();
  std::vector<Duration> rang;
  scheduler.at(begin + 10ms, [&] {
    rang.push_back(world->now() - begin);
    scheduler.at(begin + 25ms, [&] { rang.push_back(world->now() - begin); });
  });
  scheduler.add([&](TimePoint now) { return now - begin < 50ms ? Progress::kBlocked : Progress::kDone; });
  EXPECT_EQ(scheduler.run(1s), Scheduler::Outcome::kAllDone);
  EXPECT_EQ(rang, (std::vector<Duration>{10ms, 25ms}));
}

}  // namespace
}  // namespace rondo::comm
