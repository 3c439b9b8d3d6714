#include "trainer/step/one_cycle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace rondo::trainer {
namespace {

TEST(OneCycle, StartsPeaksAndEndsWhereItShould) {
  const OneCycle cycle{.peak = 0.1, .total_steps = 1000};
  EXPECT_NEAR(cycle.at(0), 0.004, 1e-16);
  EXPECT_DOUBLE_EQ(cycle.at(299), 0.1);
  EXPECT_NEAR(cycle.at(999), 0.1 / 25 / 10'000, 1e-18);
}

TEST(OneCycle, FollowsTheCosineOfTorchsOneCycleLR) {
  const OneCycle cycle{.peak = 0.1, .total_steps = 1000};
  for (int64_t step = 0; step <= 299; ++step) {
    EXPECT_NEAR(cycle.at(step),
                0.1 + (0.004 - 0.1) / 2 * (1 + std::cos(std::numbers::pi * static_cast<double>(step) / 299)), 1e-15);
  }
  for (int64_t step = 300; step < 1000; ++step) {
    EXPECT_NEAR(cycle.at(step),
                4e-7 + (0.1 - 4e-7) / 2 * (1 + std::cos(std::numbers::pi * static_cast<double>(step - 299) / 700)),
                1e-15);
  }
}

TEST(OneCycle, GivesTheNumbersThatPyTorchPrints) {
  // torch.optim.lr_scheduler.OneCycleLR(sgd, max_lr=0.1, total_steps=10), torch 2.11, printed with 17 digits.
  const double expected[] = {0.0040000000000000036, 0.052000000000000005,  0.10000000000000001,  0.095048463201347383,
                             0.081174565394976306,  0.06112620219362893,   0.038874197806371073, 0.018825834605023701,
                             0.0049519367986526289, 3.9999999999999998e-07};
  const OneCycle cycle{.peak = 0.1, .total_steps = 10};
  for (size_t step = 0; step < 10; ++step)
    EXPECT_NEAR(cycle.at(static_cast<int64_t>(step)), expected[step], 1e-16) << step;
}

TEST(OneCycle, RisesThenFallsForAnyNumberOfSteps) {
  for (const int64_t total : {1, 2, 3, 4, 5, 7, 10, 33, 1407}) {
    const OneCycle cycle{.peak = 0.1, .total_steps = total};
    int64_t top = 0;
    for (int64_t step = 0; step < total; ++step) {
      const double rate = cycle.at(step);
      EXPECT_TRUE(std::isfinite(rate) && rate > 0 && rate <= 0.1) << step << " of " << total;
      if (rate > cycle.at(top)) top = step;
    }
    for (int64_t step = 1; step < total; ++step) {
      EXPECT_EQ(cycle.at(step) > cycle.at(step - 1), step <= top) << step << " of " << total;
    }
  }
}

}  // namespace
}  // namespace rondo::trainer
