/// Rate schedules at work on an optimizer's groups.
#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <vector>

#include "rondo/optimizer.h"
#include "rondo/rate_schedule.h"

namespace rondo {

/// Sets the rates of an optimizer's groups by a rate schedule, each from the rate that it was made with. The rate of
/// step 0 is set at once. To go on from a checkpoint: make it as before, load, then restore(position).
class RateScheduler {
 public:
  /// `optimizer` must outlive this.
  RateScheduler(torch::optim::Optimizer& optimizer, RateSchedule schedule);

  /// After optimizer.step(), or once an epoch: sets the next rates. They stay when a rondo::Optimizer has applied no
  /// step since the last call.
  void step();
  /// Calls of step() so far that set rates.
  int64_t position() const { return position_; }
  void restore(int64_t position);
  /// A rate for each group, as they are now.
  std::vector<double> rates() const;

 private:
  torch::optim::Optimizer& optimizer_;
  const RateSchedule schedule_;
  std::vector<double> bases_;
  int64_t position_ = 0;
  trainer::StepFollower follower_;
};

/// Lowers the rates of all groups of an optimizer by a Plateau.
class PlateauScheduler {
 public:
  /// `optimizer` must outlive this.
  explicit PlateauScheduler(torch::optim::Optimizer& optimizer, const Plateau::Options& options = {});

  /// True when the rates were lowered. `metric` must be equal on all ranks.
  bool step(double metric);
  const Plateau::State& state() const { return plateau_.state(); }
  void restore(const Plateau::State& state) { plateau_.restore(state); }

 private:
  torch::optim::Optimizer& optimizer_;
  Plateau plateau_;
};

}  // namespace rondo
