#include "comm/schedule/predicted.h"

#include <gtest/gtest.h>

namespace rondo::comm {
namespace {

TEST(Predicted, FollowsTheClosedForms) {
  const LinkCost cost{.alpha_us = 3, .beta_ns = 2000, .gamma_ns = 1000};  // 2 us and 1 us a byte
  const Exchange four{.world_size = 4, .byte_count = 8};
  EXPECT_DOUBLE_EQ(*predicted_us("one-shot", four, cost), 3 * 3 + 24 * 2 + 24 * 1);
  EXPECT_DOUBLE_EQ(*predicted_us("direct", four, cost), 6 * 3 + 12 * 2 + 6 * 1);
  EXPECT_DOUBLE_EQ(*predicted_us("halving", four, cost), 4 * 3 + 12 * 2 + 6 * 1);
  EXPECT_FALSE(predicted_us("halving", {.world_size = 6, .byte_count = 8}, cost).has_value());
  EXPECT_FALSE(predicted_us("ring", four, cost).has_value());
}

}  // namespace
}  // namespace rondo::comm
