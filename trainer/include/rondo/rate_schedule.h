/// Learning rates over the steps of a run.
///
/// A RateSchedule is a value: the rate of step `step` (0 is the first) for a parameter group whose optimizer was made
/// with `base`. It depends on nothing else, so a run that goes on from a checkpoint needs the number of the step and no
/// more. rondo::RateScheduler (rondo.h) sets an optimizer's rates by one. The numbers are those of
/// torch.optim.lr_scheduler, to the last digits: PyTorch multiplies step by step what is computed here at once.
///
/// Plateau is the exception: it goes by a metric and has a state.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rondo {

class RateSchedule {
 public:
  using Rate = std::function<double(double base, int64_t step)>;
  /// `description`: for logs, "cosine over 1000 steps".
  RateSchedule(std::string description, Rate rate);

  /// step >= 0.
  double rate(double base, int64_t step) const { return rate_(base, step); }
  const std::string& description() const { return description_; }

 private:
  std::string description_;
  Rate rate_;
};

/// All of these throw rondo::Error (usage) for numbers that make no rate schedule, naming them.

/// The base all the way.
RateSchedule constant();
/// Times `gamma` after every `every` steps: StepLR.
RateSchedule step_decay(int64_t every, double gamma = 0.1);
/// Times `gamma` at each of `milestones`, which rise: MultiStepLR.
RateSchedule milestones(std::vector<int64_t> milestones, double gamma = 0.1);
/// From base * `from` to base * `to` in a line over `steps` steps, then on at the latter: LinearLR.
struct Line {
  double from = 1.0 / 3;
  double to = 1;
};
RateSchedule linear(int64_t steps, Line line = {});
/// From the base to `end` along half a cosine over `steps` steps, and back up the same way over the next `steps`:
/// CosineAnnealingLR. Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts".
RateSchedule cosine(int64_t steps, double end = 0);

/// Up to `peak` along a cosine, then down along a longer one to almost nothing; the base is of no consequence:
/// OneCycleLR with its defaults, but the last rate stays when the steps are over.
/// Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates".
struct OneCycle {
  double peak = 0.1;
  int64_t total_steps = 1;
  double rise = 0.3;                   // share of the steps until the peak
  double start_divisor = 25;           // starts at peak / start_divisor
  double end_divisor = 25 * 10'000.0;  // ends at peak / end_divisor
};
RateSchedule one_cycle(const OneCycle& cycle);

/// Up in a line, the base for long, then down to base * `end` in a form of the caller's: a run may be lengthened
/// without a new start. Source: Hu et al., "MiniCPM: unveiling the potential of small language models with scalable
/// training strategies"; the form 1 - sqrt: Haegele et al., "Scaling laws and compute-optimal training beyond fixed
/// training durations".
struct WarmupStableDecay {
  int64_t warmup = 0, stable = 0, decay = 1;  // steps of each part
  double start = 0;                           // as shares of the base
  double end = 0;
  enum class Form : uint8_t { kLinear, kCosine, kOneMinusSqrt } form = Form::kLinear;
};
RateSchedule warmup_stable_decay(const WarmupStableDecay& parts);

/// `first` for `steps` steps, then `second` from its own step 0 on: SequentialLR.
RateSchedule then(int64_t steps, const RateSchedule& first, const RateSchedule& second);
/// A line from base * `from` to the base over `steps` steps, then `after`.
RateSchedule warmup(int64_t steps, const RateSchedule& after, double from = 1.0 / 3);

/// Lowers rates when a metric has not become better for a while: ReduceLROnPlateau. All ranks must show it the same
/// number, so a metric of one rank goes through job.sum() or job.all_reduce() first.
class Plateau {
 public:
  enum class Better : uint8_t { kLower, kHigher };
  enum class Threshold : uint8_t { kRelative, kAbsolute };
  struct Options {
    Better better = Better::kLower;
    double factor = 0.1;    // of each lowering, in (0, 1)
    int64_t patience = 10;  // how often in turn it may be no better
    double threshold = 1e-4;
    Threshold kind = Threshold::kRelative;
    int64_t cooldown = 0;   // metrics after a lowering that do not count
    double least = 0;       // no rate goes below
    double epsilon = 1e-8;  // a rate that would change by less stays
  };
  struct State {
    double best;
    int64_t bad = 0;  // in turn, no better
    int64_t cooling = 0;
    bool operator==(const State&) const = default;
  };

  Plateau() : Plateau(Options()) {}
  explicit Plateau(const Options& options);

  /// True when the rates are to be lowered now. A NaN is no better.
  bool observe(double metric);
  /// What `rate` becomes then.
  double lowered(double rate) const;

  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

 private:
  bool is_better(double metric) const;
  Options options_;
  State state_;
};

}  // namespace rondo
