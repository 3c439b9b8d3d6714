#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

void expect_right(const std::vector<int>& host_of_rank) {
  test::expect_closed_form({.algorithm = "hierarchical", .host_of_rank = host_of_rank},
                           {static_cast<int>(host_of_rank.size())});
}

Order order_over(const std::vector<int>& host_of_rank) {
  const auto order = order_of({.algorithm = "hierarchical",
                               .shape = {.at = {.rank = 0, .world_size = static_cast<int>(host_of_rank.size())},
                                         .host_of_rank = host_of_rank}});
  EXPECT_TRUE(order.ok()) << order.status().text();
  return order.ok() ? *order : Order::kNone;
}

TEST(HierarchicalAllReduce, IsRightOverEvenHosts) {
  expect_right({0, 0, 1, 1});
  expect_right({0, 0, 0, 1, 1, 1});
  expect_right({5, 5, 5, 5, 2, 2, 2, 2});
  expect_right({0, 1, 2, 3, 4});
}

TEST(HierarchicalAllReduce, IsRightOverUnevenAndScatteredHosts) {
  expect_right({0, 0, 0, 1});
  expect_right({0, 1, 1, 1, 1});
  expect_right({0, 1, 0, 1, 0});
  expect_right({0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1});  // five messages a pair in a stage: more than four slots
  expect_right({0, 0, 0, 0, 0, 1, 2, 2, 3, 3});
}

TEST(HierarchicalAllReduce, IsDirectOnOneHost) {
  expect_right({0, 0, 0, 0, 0});
  test::expect_closed_form({.algorithm = "hierarchical"}, {1, 2, 5});  // no hosts given: one
}

TEST(HierarchicalAllReduce, IsCanonicalWhenHostsHoldAlignedBlocksOfOneSizeTwoToTheK) {
  EXPECT_EQ(order_over({0, 0, 1, 1}), Order::kCanonical);
  EXPECT_EQ(order_over({0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}), Order::kCanonical);
  EXPECT_EQ(order_over({0, 0, 0, 0, 1, 1}), Order::kCanonical) << "the last host may hold fewer";
  EXPECT_EQ(order_over({0, 1, 2, 3, 4}), Order::kCanonical);
  EXPECT_EQ(order_over({7, 7, 7, 7, 7}), Order::kCanonical);
  EXPECT_EQ(order_over({0, 1, 0, 1}), Order::kByHost) << "not in blocks";
  EXPECT_EQ(order_over({0, 0, 0, 1, 1, 1}), Order::kByHost) << "three a host";
  EXPECT_EQ(order_over({0, 1, 1, 2, 2}), Order::kByHost) << "blocks of two, but not aligned";
}

TEST(HierarchicalAllReduce, SendsOverTheNetworkWhatTheFormulaSays) {
  // 2 hosts of 4: of 800 elements a rank owns 200, and sends half of that across, twice.
  const std::vector<int> hosts{0, 0, 0, 0, 1, 1, 1, 1};
  for (int rank = 0; rank < 8; ++rank) {
    const Schedule schedule = hierarchical_all_reduce(
        {.at = {.rank = rank, .world_size = 8}, .element_count = 800, .segment_elements = 50, .host_of_rank = hosts});
    int64_t across = 0;
    for (const Action& action : schedule.actions) {
      if (action.kind == ActionKind::kSend && action.peer / 4 != rank / 4) across += action.from[0].range.count();
    }
    EXPECT_EQ(across, 2 * 100);
    EXPECT_EQ(test::elements_sent(schedule) - across, 2 * 3 * 200);
    const int opposite = (rank + 4) % 8;
    std::vector<int> peers;
    for (int peer = 0; peer < 8; ++peer) {
      if (peer != rank && (peer / 4 == rank / 4 || peer == opposite)) peers.push_back(peer);
    }
    EXPECT_EQ(test::peers_of(schedule, ActionKind::kSend), peers);
    EXPECT_EQ(schedule.slots, 4);
  }
}

}  // namespace
}  // namespace rondo::comm
