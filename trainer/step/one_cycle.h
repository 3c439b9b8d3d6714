/// The one-cycle learning rate: up along a cosine, then down along a longer one to almost nothing.
///
/// The same numbers as torch.optim.lr_scheduler.OneCycleLR with its defaults (cosine, two phases).
/// Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates".
#pragma once

#include <cstdint>

namespace rondo::trainer {

struct OneCycle {
  double peak = 0.1;
  int64_t total_steps = 1;
  double rise = 0.3;                   // share of the steps until the peak
  double start_divisor = 25;           // starts at peak / start_divisor
  double end_divisor = 25 * 10'000.0;  // ends at peak / end_divisor

  /// The learning rate of step `step` in [0, total_steps).
  double at(int64_t step) const;
};

}  // namespace rondo::trainer
