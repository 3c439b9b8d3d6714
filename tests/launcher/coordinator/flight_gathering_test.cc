#include "launcher/coordinator/flight_gathering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

const comm::TimePoint kStart = comm::TimePoint(1000s);

TEST(FlightGathering, IsCompleteWhenEveryRankHasSentItsRecordOrHasNone) {
  FlightGathering flights;
  const uint64_t order = flights.order("failure", {0, 1, 2, 3}, {kStart + 8s});
  flights.taken(order, {2}, {3});
  EXPECT_THAT(flights.take_settled(kStart), IsEmpty());
  EXPECT_EQ(flights.next_moment(), kStart + 8s);
  flights.taken(order, {1, 0}, {});
  const auto settled = flights.take_settled(kStart);
  ASSERT_EQ(settled.size(), 1u);
  EXPECT_EQ(settled[0].cause, "failure");
  EXPECT_THAT(settled[0].recorded, ElementsAre(0, 1, 2));
  EXPECT_THAT(settled[0].missing, IsEmpty());
  EXPECT_TRUE(flights.empty());
  EXPECT_EQ(flights.next_moment(), std::nullopt);
}

TEST(FlightGathering, GivesUpAtTheDeadlineAndSaysWhoseAreMissing) {
  FlightGathering flights;
  const uint64_t order = flights.order("request", {0, 1, 2}, {kStart + 8s});
  flights.taken(order, {0}, {});
  EXPECT_THAT(flights.take_settled(kStart + 7s), IsEmpty());
  const auto settled = flights.take_settled(kStart + 8s);
  ASSERT_EQ(settled.size(), 1u);
  EXPECT_THAT(settled[0].recorded, ElementsAre(0));
  EXPECT_THAT(settled[0].missing, ElementsAre(1, 2));
  flights.taken(order, {1, 2}, {});  // too late: nobody waits
  EXPECT_THAT(flights.take_settled(kStart + 9s), IsEmpty());
}

TEST(FlightGathering, DoesNotWaitForTheRanksOfALostHost) {
  FlightGathering flights;
  const uint64_t order = flights.order("failure", {0, 1, 2}, {kStart + 8s});
  flights.lost({1, 2});
  flights.taken(order, {0}, {});
  const auto settled = flights.take_settled(kStart);
  ASSERT_EQ(settled.size(), 1u);
  EXPECT_THAT(settled[0].missing, ElementsAre(1, 2));
}

TEST(FlightGathering, KeepsOrdersApart) {
  FlightGathering flights;
  const uint64_t first = flights.order("signal", {0, 1}, {kStart + 1s});
  const uint64_t second = flights.order("failure", {0, 1}, {kStart + 2s});
  flights.taken(second, {0, 1}, {});
  flights.not_kept({comm::Code::kIo, "no space"});
  auto settled = flights.take_settled(kStart);
  ASSERT_EQ(settled.size(), 1u);
  EXPECT_EQ(settled[0].cause, "failure");
  EXPECT_THAT(settled[0].errors, ElementsAre("no space"));
  flights.renew({kStart + 6s});
  EXPECT_THAT(flights.take_settled(kStart + 5s), IsEmpty()) << "time in which everybody stood still does not count";
  flights.taken(first, {}, {0, 1});
  settled = flights.take_settled(kStart);
  ASSERT_EQ(settled.size(), 1u);
  EXPECT_EQ(settled[0].cause, "signal");
  EXPECT_THAT(settled[0].recorded, IsEmpty());
}

}  // namespace
}  // namespace rondo::launcher
