/// The first group of a job times its links; what was measured is the same on every rank and moves no bit.
#include "comm/collective/probe.h"

#include <gtest/gtest.h>

#include <array>
#include <latch>
#include <string>
#include <vector>

#include "comm/group/formation.h"
#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::RankOptions;
using Probe = EndpointOptions::Probe;

std::vector<float> operand(int rank, int count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = 0.1F * static_cast<float>(rank + 1) + static_cast<float>(i);
  return values;
}

class Probing : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(Over, Probing, testing::Values(TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& of) { return std::string(name(of.param)); });

TEST_P(Probing, EveryRankHasRankZerosTableAndLaterGroupsDoNotRepeatIt) {
  constexpr int kRanks = 3;
  std::array<Measured, kRanks> tables;
  test::run_endpoints(
      kRanks,
      [&](Endpoint& endpoint) {
        const Deadline deadline = in_seconds(40);
        auto world = Group::create(endpoint, {}, deadline);
        RONDO_ASSERT_OK(world);
        const auto measured = endpoint.state()->measured();
        ASSERT_TRUE(measured.has_value());
        tables[static_cast<size_t>(endpoint.at().rank)] = *measured;
        EXPECT_NE(world->choices().find("timed between ranks 0 and 1"), std::string::npos) << world->choices();

        auto second = Group::create(endpoint, {.name = "second"}, deadline);
        RONDO_ASSERT_OK(second);
        EXPECT_EQ(endpoint.state()->measured(), measured) << "timed once";
        EXPECT_NE(second->choices().find("timed between ranks 0 and 1"), std::string::npos) << second->choices();
        for (Group* group : {&*world, &*second}) {
          auto values = operand(group->rank(), 5000);
          RONDO_ASSERT_OK(all_reduce(*group, view(values), ReduceOp::kSum).wait(deadline));
          const auto a = operand(0, 5000), b = operand(1, 5000), c = operand(2, 5000);
          for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], (a[i] + b[i]) + c[i]) << "index " << i;
        }
        RONDO_ASSERT_OK(barrier(*second).wait(deadline));
      },
      {.transport = GetParam(), .mappings = RankOptions::Mappings::kOwn, .probe = Probe::kAlways});
  EXPECT_EQ(tables[1], tables[0]);
  EXPECT_EQ(tables[2], tables[0]);
  const bool shared = GetParam() == TransportKind::kShm;
  EXPECT_EQ(tables[0].memory.has_value(), shared);
  EXPECT_EQ(tables[0].messages.has_value(), !shared);
  EXPECT_EQ(tables[0].staging.size(), shared ? 2u : 0u);
  for (const StoreTiming& timing : tables[0].staging) {
    EXPECT_GT(timing.plain_us, 0);
    EXPECT_GT(timing.non_temporal_us, 0);
  }
}

TEST_P(Probing, LeavesNoGroupBehindAndTheUsersGroupBeginsAtItsFirstSequence) {
  test::run_endpoints(2,
                      [](Endpoint& endpoint) {
                        auto world = Group::create(endpoint, {}, in_seconds(40));
                        RONDO_ASSERT_OK(world);
                        std::vector<float> values{1, 2};
                        if (endpoint.at().rank == 1) values.push_back(3);
                        const Status status = all_reduce(*world, view(values), ReduceOp::kSum).wait(in_seconds(20));
                        EXPECT_EQ(status.code(), Code::kMismatch) << status.text();
                        EXPECT_EQ(status.where().sequence, 0) << status.text();
                        auto same_name = Group::create(endpoint, {.name = "probe of \"world\""}, in_seconds(20));
                        RONDO_ASSERT_OK(same_name);
                        RONDO_ASSERT_OK(barrier(*same_name).wait(in_seconds(20)));
                      },
                      {.transport = GetParam(), .mappings = RankOptions::Mappings::kOwn, .probe = Probe::kAlways});
}

TEST(ProbingIsOff, WhereRankZeroSaysSoAndForFakeRanks) {
  for (const Probe probe : {Probe::kOff, Probe::kAuto}) {
    test::run_endpoints(
        2,
        [](Endpoint& endpoint) {
          auto world = Group::create(endpoint, {}, in_seconds(20));
          RONDO_ASSERT_OK(world);
          EXPECT_FALSE(endpoint.state()->measured().has_value());
          EXPECT_EQ(world->choices().find("timed between"), std::string::npos) << world->choices();
          RONDO_ASSERT_OK(barrier(*world).wait(in_seconds(20)));
        },
        {.transport = probe == Probe::kOff ? TransportKind::kTcp : TransportKind::kShm, .probe = probe});
  }
}

TEST(ProbingFails, NamingTheRankThatDoesNotTakePartOnEveryRank) {
  for (const TransportKind transport : {TransportKind::kTcp, TransportKind::kShm}) {
    std::latch others_are_done(2);
    test::run_endpoints(
        3,
        [&](Endpoint& endpoint) {
          if (endpoint.at().rank == 1) {  // forms the group, and then does nothing
            GroupFormation formation(endpoint.state(), {});
            const Deadline deadline = in_seconds(20);
            while (formation.advance(endpoint.env().now()) != Progress::kDone)
              ASSERT_FALSE(deadline.passed(endpoint.env().now()));
            EXPECT_TRUE(formation.probes());
            others_are_done.wait();
            return;
          }
          const auto world = Group::create(endpoint, {}, in_seconds(endpoint.at().rank == 0 ? 1 : 20));
          others_are_done.count_down();
          ASSERT_FALSE(world.ok());
          EXPECT_EQ(world.status().code(), Code::kTimeout) << world.status().text();
          EXPECT_EQ(world.status().where().peer, 1) << world.status().text();
          EXPECT_NE(world.status().text().find("rank 1 formed the group but did not answer"), std::string::npos)
              << world.status().text();
        },
        {.transport = transport, .mappings = RankOptions::Mappings::kOwn, .probe = Probe::kAlways});
  }
}

}  // namespace
}  // namespace rondo::comm
