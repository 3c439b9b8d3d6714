#include "rondo/rate_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "rondo/error.h"

namespace rondo {
namespace {

using testing::HasSubstr;

constexpr double kBase = 0.1;

/// What torch.optim.lr_scheduler of torch 2.11 printed with 17 digits, for SGD with a rate of 0.1, from step 0 on.
void expect_rates(const RateSchedule& schedule, const std::vector<double>& expected) {
  for (size_t step = 0; step < expected.size(); ++step) {
    EXPECT_NEAR(schedule.rate(kBase, static_cast<int64_t>(step)), expected[step], 1e-15)
        << schedule.description() << ", step " << step;
  }
}

TEST(RateSchedule, StepDecayIsStepLR) {
  expect_rates(step_decay(4, 0.3), {0.1, 0.1, 0.1, 0.1, 0.03, 0.03, 0.03, 0.03, 0.009, 0.009, 0.009, 0.009});
}

TEST(RateSchedule, MilestonesAreMultiStepLR) {
  expect_rates(milestones({2, 5, 6}, 0.3), {0.1, 0.1, 0.03, 0.03, 0.03, 0.009, 0.0027, 0.0027, 0.0027});
}

TEST(RateSchedule, LinearIsLinearLR) {
  expect_rates(linear(5), {0.033333333333333333, 0.046666666666666669, 0.060000000000000005, 0.073333333333333348,
                           0.086666666666666684, 0.1, 0.1, 0.1});
  expect_rates(linear(7, {.from = 0.9, .to = 0.2}), {0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02});
}

TEST(RateSchedule, CosineIsCosineAnnealingLRAlsoBeyondItsEnd) {
  expect_rates(cosine(5, 0.01),
               {0.1, 0.091405764746872634, 0.068905764746872628, 0.041094235253127359, 0.018594235253127367, 0.01,
                0.018594235253127367, 0.041094235253127387, 0.068905764746872669, 0.091405764746872689,
                0.10000000000000006, 0.091405764746872717, 0.068905764746872683, 0.041094235253127401});
}

TEST(RateSchedule, WarmupIsSequentialLROfTwo) {
  expect_rates(warmup(4, cosine(8, 0.001), 0.1),
               {0.01, 0.0325, 0.055, 0.0775, 0.1, 0.096232036859308701, 0.085501785668734107, 0.069442829902071956,
                0.0505, 0.031557170097928057, 0.0154982143312659, 0.0047679631406913059});
  expect_rates(warmup(0, constant()), {0.1, 0.1});
}

TEST(RateSchedule, WarmupStableDecayInThreeForms) {
  // SequentialLR of LinearLR, ConstantLR and LinearLR; LambdaLR of the other two formulas.
  expect_rates(warmup_stable_decay({.warmup = 3, .stable = 3, .decay = 5, .start = 0.01, .end = 0.1}),
               {0.001, 0.034, 0.067, 0.1, 0.1, 0.1, 0.1, 0.082, 0.064, 0.046, 0.028, 0.01, 0.01});
  WarmupStableDecay parts{.warmup = 3, .stable = 3, .decay = 5, .start = 0, .end = 0.1};
  parts.form = WarmupStableDecay::Form::kCosine;
  expect_rates(warmup_stable_decay(parts),
               {0, 0.033333333333333333, 0.066666666666666666, 0.1, 0.1, 0.1, 0.1, 0.091405764746872634,
                0.068905764746872641, 0.04109423525312738, 0.018594235253127374, 0.01, 0.01});
  parts.form = WarmupStableDecay::Form::kOneMinusSqrt;
  expect_rates(warmup_stable_decay(parts),
               {0, 0.033333333333333333, 0.066666666666666666, 0.1, 0.1, 0.1, 0.1, 0.059750776405003793,
                0.043079002116969169, 0.030286299768266495, 0.019501552810007573, 0.01, 0.01});
}

TEST(RateSchedule, OneCycleIsOneCycleLR) {
  expect_rates(one_cycle({.peak = 0.1, .total_steps = 10}),
               {0.0040000000000000036, 0.052000000000000005, 0.10000000000000001, 0.095048463201347383,
                0.081174565394976306, 0.06112620219362893, 0.038874197806371073, 0.018825834605023701,
                0.0049519367986526289, 3.9999999999999998e-07, 4e-07});
  const RateSchedule cycle = one_cycle({.peak = 0.1, .total_steps = 1000});
  EXPECT_DOUBLE_EQ(cycle.rate(kBase, 299), 0.1);
  EXPECT_NEAR(cycle.rate(kBase, 999), 0.1 / 25 / 10'000, 1e-18);
}

TEST(RateSchedule, OneCycleRisesThenFallsForAnyNumberOfSteps) {
  for (const int64_t total : {1, 2, 3, 4, 5, 7, 10, 33, 1407}) {
    const RateSchedule cycle = one_cycle({.peak = 0.1, .total_steps = total});
    int64_t top = 0;
    for (int64_t step = 0; step < total; ++step) {
      const double rate = cycle.rate(kBase, step);
      EXPECT_TRUE(std::isfinite(rate) && rate > 0 && rate <= 0.1) << step << " of " << total;
      if (rate > cycle.rate(kBase, top)) top = step;
    }
    for (int64_t step = 1; step < total; ++step) {
      EXPECT_EQ(cycle.rate(kBase, step) > cycle.rate(kBase, step - 1), step <= top) << step << " of " << total;
    }
  }
}

TEST(RateSchedule, DescribesItselfAndRefusesNumbersThatMakeNone) {
  EXPECT_EQ(warmup(100, cosine(900)).description(),
            "linear from 0.333333 to 1 over 100 steps for 100 steps, then cosine to 0 over 900 steps");
  const auto refusal = [](const auto& make) -> std::string {
    try {
      make();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
      return error.what();
    }
    return "none";
  };
  EXPECT_THAT(refusal([] { (void)step_decay(0); }), HasSubstr("step_decay() every 0 steps; it must be 1 or more"));
  EXPECT_THAT(refusal([] { (void)milestones({3, 3}); }), HasSubstr("milestones() 3, 3; they must rise"));
  EXPECT_THAT(refusal([] { (void)linear(-1); }), HasSubstr("linear() over -1 steps"));
  EXPECT_THAT(refusal([] { (void)linear(1, {.from = -1}); }), HasSubstr("linear() from -1 to 1"));
  EXPECT_THAT(refusal([] { (void)cosine(0); }), HasSubstr("cosine() over 0 steps"));
  EXPECT_THAT(refusal([] { (void)one_cycle({.total_steps = 0}); }), HasSubstr("one_cycle() over 0 steps"));
  EXPECT_THAT(refusal([] { (void)one_cycle({.rise = 2}); }), HasSubstr("a rise of 2"));
  EXPECT_THAT(refusal([] { (void)one_cycle({.start_divisor = 0}); }), HasSubstr("divisor"));
  EXPECT_THAT(refusal([] { (void)warmup_stable_decay({.decay = 0}); }), HasSubstr("of 0, 0 and 0 steps"));
  EXPECT_THAT(refusal([] { (void)then(-1, constant(), constant()); }), HasSubstr("after -1 steps"));
  EXPECT_THAT(refusal([] { Plateau({.factor = 1}); }), HasSubstr("factor of 1"));
  EXPECT_THAT(refusal([] { Plateau({.patience = -1}); }), HasSubstr("must not be negative"));
}

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Better at first, then not, a NaN, better again.
constexpr double kMetrics[] = {1.0, 0.9, 0.95, 0.9, 0.8999, 0.8998, 0.91, 0.5, 0.6, 0.6, 0.6,
                               0.6, 0.6, kNaN, 0.6, 0.6,    0.4,    0.5,  0.5, 0.5, 0.5};

/// After which of kMetrics ReduceLROnPlateau(factor=0.5, patience=1, threshold=0.01, cooldown=2, min_lr=0.004) lowered.
void expect_lowered(Plateau::Options options, const std::vector<size_t>& expected, double last) {
  options.factor = 0.5;
  options.patience = 1;
  options.threshold = 0.01;
  options.cooldown = 2;
  options.least = 0.004;
  Plateau plateau(options);
  std::vector<size_t> lowered;
  double rate = kBase;
  for (size_t i = 0; i < std::size(kMetrics); ++i) {
    if (!plateau.observe(kMetrics[i])) continue;
    lowered.push_back(i);
    rate = plateau.lowered(rate);
  }
  EXPECT_EQ(lowered, expected);
  EXPECT_DOUBLE_EQ(rate, last);
}

TEST(Plateau, IsReduceLROnPlateauInAllModes) {
  for (const auto kind : {Plateau::Threshold::kRelative, Plateau::Threshold::kAbsolute}) {
    expect_lowered({.better = Plateau::Better::kLower, .kind = kind}, {3, 9, 13, 18}, 0.00625);
    expect_lowered({.better = Plateau::Better::kHigher, .kind = kind}, {2, 6, 10, 14, 18}, 0.004);
  }
}

TEST(Plateau, ARateThatHardlyChangesStays) {
  const Plateau plateau(Plateau::Options{.factor = 0.5, .epsilon = 1e-3});
  EXPECT_DOUBLE_EQ(plateau.lowered(1e-3), 1e-3);
  EXPECT_DOUBLE_EQ(plateau.lowered(1e-2), 5e-3);
}

TEST(Plateau, GoesOnWhereItsStateWasTaken) {
  for (size_t cut = 0; cut < std::size(kMetrics); ++cut) {
    Plateau whole(Plateau::Options{.patience = 1});
    Plateau first(Plateau::Options{.patience = 1});
    for (size_t i = 0; i < cut; ++i) (void)first.observe(kMetrics[i]);
    Plateau second(Plateau::Options{.patience = 1});
    second.restore(first.state());
    for (size_t i = 0; i < std::size(kMetrics); ++i) {
      const bool lowers = whole.observe(kMetrics[i]);
      if (i < cut) continue;
      EXPECT_EQ(second.observe(kMetrics[i]), lowers) << i;
    }
    EXPECT_EQ(second.state(), whole.state());
  }
}

}  // namespace
}  // namespace rondo
