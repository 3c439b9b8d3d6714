// How far apart two numbers, and two trainings, are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rondo/state_distance.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace rondo::test {
namespace {

template <typename T>
class UlpDistance : public ::testing::Test {};
struct OfFloat {
  using Number = float;
};
struct OfDouble {
  using Number = double;
};
struct OfHalf {
  using Number = c10::Half;
};
struct OfBFloat16 {
  using Number = c10::BFloat16;
};
using Types = ::testing::Types<OfFloat, OfDouble, OfHalf, OfBFloat16>;
TYPED_TEST_SUITE(UlpDistance, Types);

TYPED_TEST(UlpDistance, CountsTheStepsFromOneNumberToTheNext) {
  using T = typename TypeParam::Number;
  using Limits = std::numeric_limits<T>;
  const T one(1), epsilon = Limits::epsilon();
  EXPECT_EQ(ulp_distance(one, one), 0U);
  EXPECT_EQ(ulp_distance(one, T(one + epsilon)), 1U);
  EXPECT_EQ(ulp_distance(T(one + epsilon), one), 1U);
  EXPECT_EQ(ulp_distance(one, T(one - T(epsilon / T(2)))), 1U) << "numbers below 1 are half as far apart";
  EXPECT_EQ(ulp_distance(T(-1), T(T(-1) - epsilon)), 1U);
  EXPECT_EQ(ulp_distance(one, T(2)), static_cast<uint64_t>(std::llround(1 / static_cast<double>(epsilon))));
}

TYPED_TEST(UlpDistance, GoesOnAcrossZero) {
  using T = typename TypeParam::Number;
  const T least = std::numeric_limits<T>::denorm_min();
  EXPECT_EQ(ulp_distance(T(0), T(-0.0)), 0U);
  EXPECT_EQ(ulp_distance(T(-0.0), least), 1U);
  EXPECT_EQ(ulp_distance(T(-least), least), 2U);
  EXPECT_EQ(ulp_distance(T(-1), T(1)), 2 * ulp_distance(T(0), T(1)));
}

TYPED_TEST(UlpDistance, KnowsInfinityAndNaN) {
  using T = typename TypeParam::Number;
  using Limits = std::numeric_limits<T>;
  const T infinity = Limits::infinity(), nan = Limits::quiet_NaN();
  EXPECT_EQ(ulp_distance(Limits::max(), infinity), 1U);
  EXPECT_EQ(ulp_distance(infinity, infinity), 0U);
  EXPECT_EQ(ulp_distance(T(-infinity), infinity), 2 * ulp_distance(T(0), infinity));
  EXPECT_EQ(ulp_distance(nan, nan), 0U);
  EXPECT_EQ(ulp_distance(nan, T(1)), kNoUlpDistance);
  EXPECT_EQ(ulp_distance(infinity, nan), kNoUlpDistance);
}

TrainedState with(const std::string& slot, const torch::Tensor& tensor) {
  return {.tensors = {{slot, tensor}}, .values = {}};
}

TEST(StateDistance, NamesTheFarthestElementAndMeasuresByNorm) {
  const auto reference = torch::full({2, 3}, 2.0F);
  auto state = reference.clone();
  state[1][0] = std::nextafter(std::nextafter(2.0F, 3.0F), 3.0F);
  state[0][1] = std::nextafter(2.0F, 3.0F);
  const auto all = distances(with("parameter \"w\"", state), with("parameter \"w\"", reference));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].ulp, 2U);
  EXPECT_EQ(all[0].element, 3);
  const double ulp = std::nextafter(2.0F, 3.0F) - 2.0F;
  EXPECT_NEAR(all[0].relative, ulp * std::sqrt(5.0) / (2 * std::sqrt(6.0)), 1e-12);
  EXPECT_FALSE(all[0].same_bits);
  EXPECT_TRUE(all[0].is_rounding());
  EXPECT_EQ(first_difference(with("w", reference), with("w", reference.clone())), "");
  EXPECT_EQ(first_difference(with("w", torch::zeros({1})), with("w", -torch::zeros({1}))), "w") << "bits, not values";
}

TEST(StateDistance, WhatCannotBeRoundingIsInfinitelyFar) {
  const auto far = [](const torch::Tensor& state, const torch::Tensor& reference) {
    const auto all = distances(with("w", state), with("w", reference));
    return all.size() == 1 && std::isinf(all[0].relative) && !all[0].is_rounding();
  };
  EXPECT_TRUE(far(torch::ones({2}), torch::ones({3})));
  EXPECT_TRUE(far(torch::ones({2}), torch::ones({2}, torch::kDouble)));
  EXPECT_TRUE(far(torch::full({2}, NAN), torch::ones({2})));
  EXPECT_TRUE(far(torch::full({2}, INFINITY), torch::ones({2})));
  EXPECT_TRUE(far(torch::tensor({int64_t{1} << 40}), torch::tensor({(int64_t{1} << 40) + 1})));
  const auto missing = distances(with("w", torch::ones({2})), {});
  ASSERT_EQ(missing.size(), 1U);
  EXPECT_TRUE(std::isinf(missing[0].relative));
  const auto rate = distances({.tensors = {}, .values = {{"lr of group 0", "0.1"}}},
                              {.tensors = {}, .values = {{"lr of group 0", "0.2"}}});
  ASSERT_EQ(rate.size(), 1U);
  EXPECT_EQ(rate[0].slot, "lr of group 0");
  EXPECT_FALSE(rate[0].is_rounding());
}

TEST(StateDistance, ASlotOfNothingButRoundingIsMeasuredByItsKind) {
  TrainedState state, reference;
  reference.tensors = {{"momentum_buffer of \"conv.weight\"", torch::ones({100})},
                       {"momentum_buffer of \"conv.bias\"", torch::full({100}, 1e-8F)}};
  state.tensors = {{"momentum_buffer of \"conv.weight\"", torch::ones({100})},
                   {"momentum_buffer of \"conv.bias\"", torch::full({100}, -1e-8F)}};
  for (const auto& distance : distances(state, reference)) EXPECT_TRUE(distance.is_rounding()) << distance.slot;
  state.tensors["momentum_buffer of \"conv.bias\""] = torch::full({100}, 1e-4F);
  EXPECT_FALSE(distances(state, reference)[0].is_rounding());
}

}  // namespace
}  // namespace rondo::test
