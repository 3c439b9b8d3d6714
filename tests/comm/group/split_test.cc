#include <gtest/gtest.h>

#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::run_ranks;

class Split : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(Group, Split,
                         testing::Values(TransportKind::kInproc, TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(Split, RanksOfOneColorReduceAmongThemselvesInKeyOrder) {
  run_ranks(5,
            [](Group& world) {
              // Even and odd ranks; the key reverses the order.
              auto half = world.split({.color = world.rank() % 2, .key = -world.rank(), .options = {.name = "half"}},
                                      in_seconds(20));
              RONDO_ASSERT_OK(half);
              const bool even = world.rank() % 2 == 0;
              EXPECT_EQ(half->world_size(), even ? 3 : 2);
              EXPECT_EQ(half->rank(), even ? (4 - world.rank()) / 2 : (3 - world.rank()) / 2);
              std::vector<int64_t> value{world.rank() + 100};
              RONDO_ASSERT_OK(all_reduce(*half, view(value), ReduceOp::kSum).wait(in_seconds(20)));
              EXPECT_EQ(value[0], even ? 0 + 2 + 4 + 300 : 1 + 3 + 200);
              // The parent still works, and both groups may be in flight at once.
              std::vector<int64_t> all{1}, part{1};
              Work in_world = all_reduce(world, view(all), ReduceOp::kSum);
              Work in_half = all_reduce(*half, view(part), ReduceOp::kSum);
              RONDO_ASSERT_OK(in_half.wait(in_seconds(20)));
              RONDO_ASSERT_OK(in_world.wait(in_seconds(20)));
              EXPECT_EQ(all[0], 5);
              EXPECT_EQ(part[0], even ? 3 : 2);
            },
            {.transport = GetParam()});
}

TEST(EndpointAbort, EndsTheGroupsOfAllRanksWithTheReasonAlsoThoseTheRankIsNotIn) {
  std::latch joined(2);
  test::run_endpoints(3, [&](Endpoint& endpoint) {
    auto world = Group::create(endpoint, {.name = "world"}, in_seconds(20));
    RONDO_ASSERT_OK(world);
    const int me = endpoint.at().rank;
    auto pair = world->split({.color = me == 2 ? -1 : 0, .options = {.name = "pair"}}, in_seconds(20));
    RONDO_ASSERT_OK(pair);
    if (me == 2) {
      joined.wait();
      endpoint.abort("the loss is a pear");
    } else {
      joined.count_down();
    }
    Work work = me == 2 ? barrier(*world) : barrier(me == 0 ? *world : *pair);
    const Status status = work.wait(in_seconds(20));
    EXPECT_EQ(status.code(), Code::kAborted) << status.text();
    EXPECT_EQ(status.where().peer, 2);
    EXPECT_NE(status.message().find("rank 2 aborted the job: the loss is a pear"), std::string::npos) << status.text();
  });
}

TEST_P(Split, ARankOfColorMinusOneJoinsNothing) {
  run_ranks(3,
            [](Group& world) {
              auto some =
                  world.split({.color = world.rank() == 1 ? -1 : 0, .options = {.name = "some"}}, in_seconds(20));
              RONDO_ASSERT_OK(some);
              EXPECT_EQ(some->joined(), world.rank() != 1);
              if (some->joined()) {
                EXPECT_EQ(some->world_size(), 2);
                RONDO_ASSERT_OK(barrier(*some).wait(in_seconds(20)));
              } else {
                EXPECT_EQ(barrier(*some).status().code(), Code::kInvalidArgument);
              }
            },
            {.transport = GetParam()});
}

TEST_P(Split, GroupsWaitedForInDifferentOrderDoNotDeadlock) {
  run_ranks(2,
            [](Group& world) {
              auto other = world.split({.options = {.name = "other"}}, in_seconds(20));
              RONDO_ASSERT_OK(other);
              for (int round = 0; round < 20; ++round) {
                std::vector<float> a(5000, 1), b(5000, 2);
                Work in_world = all_reduce(world, view(a), ReduceOp::kSum);
                Work in_other = all_reduce(*other, view(b), ReduceOp::kSum);
                if (world.rank() == 0) {
                  RONDO_ASSERT_OK(in_world.wait(in_seconds(20)));
                  RONDO_ASSERT_OK(in_other.wait(in_seconds(20)));
                } else {
                  RONDO_ASSERT_OK(in_other.wait(in_seconds(20)));
                  RONDO_ASSERT_OK(in_world.wait(in_seconds(20)));
                }
                EXPECT_EQ(a[4999], 2);
                EXPECT_EQ(b[4999], 4);
              }
            },
            {.transport = GetParam()});
}

TEST_P(Split, TwoThreadsMayUseTwoGroupsOfOneRank) {
  run_ranks(2,
            [](Group& world) {
              auto other = world.split({.options = {.name = "other"}}, in_seconds(20));
              RONDO_ASSERT_OK(other);
              const auto reduce_often = [](Group& group) {
                for (int round = 0; round < 50; ++round) {
                  std::vector<int64_t> value{round + group.rank()};
                  RONDO_ASSERT_OK(all_reduce(group, view(value), ReduceOp::kSum).wait(in_seconds(20)));
                  ASSERT_EQ(value[0], 2 * round + 1);
                }
              };
              std::thread second([&] { reduce_often(*other); });
              reduce_often(world);
              second.join();
            },
            {.transport = GetParam()});
}

TEST(GroupCreation, TheAbsentAreNamedAtTheDeadline) {
  const auto env = real_env();
  const auto fabric = make_inproc_fabric(3);
  RONDO_ASSERT_OK(fabric);
  auto endpoint = Endpoint::create({.at = {.rank = 1, .world_size = 3},
                                    .env = env,
                                    .store = in_process_store(),
                                    .transport = TransportKind::kInproc,
                                    .fabric = *fabric});
  RONDO_ASSERT_OK(endpoint);
  const auto group = Group::create(*endpoint, {}, in_seconds(0.2));
  ASSERT_FALSE(group.ok());
  EXPECT_EQ(group.status().code(), Code::kTimeout);
  EXPECT_NE(group.status().text().find("rank 0, 2 are absent"), std::string::npos) << group.status().text();
}

TEST(GroupCreation, ARankThatWaitsForAnotherIsNotCalledAbsent) {
  test::run_endpoints(3,
                      [](Endpoint& endpoint) {
                        if (endpoint.at().rank == 1) return;  // never comes
                        const auto group = Group::create(endpoint, {}, in_seconds(0.4));
                        ASSERT_FALSE(group.ok());
                        EXPECT_EQ(group.status().code(), Code::kTimeout) << group.status().text();
                        EXPECT_NE(group.status().text().find(": rank 1 is absent"), std::string::npos)
                            << group.status().text();
                      },
                      {.transport = TransportKind::kTcp});
}

TEST(GroupCreation, APlaceOutsideTheWorldIsRefused) {
  const auto env = real_env();
  const auto endpoint = Endpoint::create({.at = {.rank = 3, .world_size = 3}, .env = env, .store = in_process_store()});
  ASSERT_FALSE(endpoint.ok());
  EXPECT_EQ(endpoint.status().code(), Code::kInvalidArgument);
  EXPECT_NE(endpoint.status().text().find("rank 3 is not in [0, 3)"), std::string::npos) << endpoint.status().text();
}

}  // namespace
}  // namespace rondo::comm
