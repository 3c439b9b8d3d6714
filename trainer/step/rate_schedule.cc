#include "rondo/rate_schedule.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>
#include <utility>

#include "rondo/error.h"

namespace rondo {
namespace {

void require(bool holds, const std::string& what) {
  if (!holds) throw Error("no rate schedule: " + what, ExitCode::kUsage);
}

/// Shortest text that reads as people write numbers: "0.1", "1e-05".
std::string text(double number) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", number);
  return digits;
}

std::string steps_text(int64_t steps) { return std::to_string(steps) + (steps == 1 ? " step" : " steps"); }

/// From 1 to 0 while `share` goes from 0 to 1.
double half_cosine(double share) { return (1 + std::cos(std::numbers::pi * share)) / 2; }

double between(double from, double to, double weight_of_from) { return to + (from - to) * weight_of_from; }

double rate_of(const OneCycle& cycle, int64_t step) {
  const double last = static_cast<double>(cycle.total_steps) - 1;
  // Below 0 for very few steps: no rise then.
  const double top = cycle.rise * static_cast<double>(cycle.total_steps) - 1;
  const double now = std::clamp(static_cast<double>(step), 0.0, last);
  if (now <= top && top > 0) return between(cycle.peak / cycle.start_divisor, cycle.peak, half_cosine(now / top));
  return between(cycle.peak, cycle.peak / cycle.end_divisor, half_cosine((now - top) / (last - top)));
}

double share_of(const WarmupStableDecay& parts, int64_t step) {
  if (step < parts.warmup) {
    return between(1, parts.start, static_cast<double>(step) / static_cast<double>(parts.warmup));
  }
  const int64_t falling = step - parts.warmup - parts.stable;
  if (falling <= 0) return 1;
  const double done = std::min(1.0, static_cast<double>(falling) / static_cast<double>(parts.decay));
  switch (parts.form) {
    case WarmupStableDecay::Form::kLinear:
      return between(1, parts.end, 1 - done);
    case WarmupStableDecay::Form::kCosine:
      return between(1, parts.end, half_cosine(done));
    case WarmupStableDecay::Form::kOneMinusSqrt:
      break;
  }
  return between(1, parts.end, 1 - std::sqrt(done));
}

}  // namespace

RateSchedule::RateSchedule(std::string description, Rate rate)
    : description_(std::move(description)), rate_(std::move(rate)) {}

RateSchedule constant() {
  return {"constant", [](double base, int64_t) { return base; }};
}

RateSchedule step_decay(int64_t every, double gamma) {
  require(every > 0, "step_decay() every " + std::to_string(every) + " steps; it must be 1 or more");
  return {"times " + text(gamma) + " every " + steps_text(every), [every, gamma](double base, int64_t step) {
            const int64_t decays = step / every;
            return base * std::pow(gamma, static_cast<double>(decays));
          }};
}

RateSchedule milestones(std::vector<int64_t> milestones, double gamma) {
  std::string list;
  for (size_t i = 0; i < milestones.size(); ++i) {
    list += (i == 0 ? "" : ", ") + std::to_string(milestones[i]);
    require(milestones[i] > (i == 0 ? 0 : milestones[i - 1]), "milestones() " + list + "; they must rise from 1 on");
  }
  return {"times " + text(gamma) + " at steps " + list,
          [milestones = std::move(milestones), gamma](double base, int64_t step) {
            const auto passed = std::ranges::upper_bound(milestones, step) - milestones.begin();
            return base * std::pow(gamma, static_cast<double>(passed));
          }};
}

RateSchedule linear(int64_t steps, Line line) {
  require(steps > 0, "linear() over " + std::to_string(steps) + " steps; it must be 1 or more");
  require(line.from >= 0 && line.to >= 0, "linear() from " + text(line.from) + " to " + text(line.to));
  return {"linear from " + text(line.from) + " to " + text(line.to) + " over " + steps_text(steps),
          [steps, line](double base, int64_t step) {
            const double done = static_cast<double>(std::min(step, steps)) / static_cast<double>(steps);
            return base * (line.from + (line.to - line.from) * done);
          }};
}

RateSchedule cosine(int64_t steps, double end) {
  require(steps > 0, "cosine() over " + std::to_string(steps) + " steps; it must be 1 or more");
  return {"cosine to " + text(end) + " over " + steps_text(steps), [steps, end](double base, int64_t step) {
            return between(base, end, half_cosine(static_cast<double>(step) / static_cast<double>(steps)));
          }};
}

RateSchedule one_cycle(const OneCycle& cycle) {
  require(cycle.total_steps > 0, "one_cycle() over " + std::to_string(cycle.total_steps) + " steps");
  require(cycle.rise >= 0 && cycle.rise <= 1, "one_cycle() with a rise of " + text(cycle.rise) + "; it is a share");
  require(cycle.start_divisor > 0 && cycle.end_divisor > 0, "one_cycle() with a divisor that is not positive");
  return {"one cycle to " + text(cycle.peak) + " over " + steps_text(cycle.total_steps),
          [cycle](double, int64_t step) { return rate_of(cycle, step); }};
}

RateSchedule warmup_stable_decay(const WarmupStableDecay& parts) {
  require(parts.warmup >= 0 && parts.stable >= 0 && parts.decay > 0,
          "warmup_stable_decay() of " + std::to_string(parts.warmup) + ", " + std::to_string(parts.stable) + " and " +
              std::to_string(parts.decay) + " steps; the decay takes 1 or more, the others 0 or more");
  return {"warm-up of " + steps_text(parts.warmup) + ", stable for " + std::to_string(parts.stable) + ", decay over " +
              std::to_string(parts.decay),
          [parts](double base, int64_t step) { return base * share_of(parts, step); }};
}

RateSchedule then(int64_t steps, const RateSchedule& first, const RateSchedule& second) {
  require(steps >= 0, "then() after " + std::to_string(steps) + " steps");
  return {first.description() + " for " + steps_text(steps) + ", then " + second.description(),
          [steps, first, second](double base, int64_t step) {
            return step < steps ? first.rate(base, step) : second.rate(base, step - steps);
          }};
}

RateSchedule warmup(int64_t steps, const RateSchedule& after, double from) {
  return then(steps, linear(std::max<int64_t>(steps, 1), {.from = from, .to = 1}), after);
}

Plateau::Plateau(const Options& options) : options_(options) {
  require(options.factor > 0 && options.factor < 1,
          "a plateau's factor of " + text(options.factor) + "; it must lie between 0 and 1");
  require(options.patience >= 0 && options.cooldown >= 0, "a plateau's patience and cooldown must not be negative");
  const double infinity = std::numeric_limits<double>::infinity();
  state_.best = options.better == Better::kLower ? infinity : -infinity;
}

bool Plateau::is_better(double metric) const {
  const bool lower = options_.better == Better::kLower;
  const double sign = lower ? -1 : 1;
  const double bar = options_.kind == Threshold::kRelative ? state_.best * (1 + sign * options_.threshold)
                                                           : state_.best + sign * options_.threshold;
  return lower ? metric < bar : metric > bar;
}

bool Plateau::observe(double metric) {
  if (is_better(metric)) {
    state_.best = metric;
    state_.bad = 0;
  } else {
    ++state_.bad;
  }
  if (state_.cooling > 0) {
    --state_.cooling;
    state_.bad = 0;
  }
  if (state_.bad <= options_.patience) return false;
  state_.cooling = options_.cooldown;
  state_.bad = 0;
  return true;
}

double Plateau::lowered(double rate) const {
  const double lower = std::max(rate * options_.factor, options_.least);
  return rate - lower > options_.epsilon ? lower : rate;
}

}  // namespace rondo
