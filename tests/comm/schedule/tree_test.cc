#include <gtest/gtest.h>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

TEST(TreeBroadcast, GivesEveryRankTheDataOfAnyRoot) {
  for (int root = 0; root < 6; ++root) {
    test::expect_closed_form({.goal = Goal::kBroadcast, .algorithm = "tree", .root = root}, {6, 8, 13});
  }
  test::expect_closed_form({.goal = Goal::kBroadcast, .algorithm = "tree"}, {1, 2, 3, 5});
}

TEST(TreeBroadcast, NeedsLog2Hops) {
  const auto hops = [](int n) { return tree_broadcast({.at = {.rank = 0, .world_size = n}}).hop_count; };
  EXPECT_EQ(hops(1), 0);
  EXPECT_EQ(hops(2), 1);
  EXPECT_EQ(hops(5), 3);
  EXPECT_EQ(hops(8), 3);
  EXPECT_EQ(hops(9), 4);
}

TEST(TreeBroadcast, ServesTheFarthestFirst) {
  const Schedule root = tree_broadcast({.at = {.rank = 2, .world_size = 8}, .element_count = 1, .root = 2});
  std::vector<int> peers;
  for (const Action& action : root.actions) peers.push_back(action.peer);
  EXPECT_EQ(peers, (std::vector<int>{6, 4, 3}));
  const Schedule leaf = tree_broadcast({.at = {.rank = 1, .world_size = 8}, .element_count = 1, .root = 2});
  EXPECT_TRUE(test::peers_of(leaf, ActionKind::kSend).empty());
  EXPECT_EQ(test::peers_of(leaf, ActionKind::kReceive), std::vector<int>{0});
}

}  // namespace
}  // namespace rondo::comm
