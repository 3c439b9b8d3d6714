/// How progress looks: one bar for terminals, a plain line for files. Pure functions.
#pragma once

#include <cstdint>
#include <string>

namespace rondo::launcher {

/// Where training stands, as rank 0 last said.
struct TrainingProgress {
  int epoch = 0, epochs = 0;
  int64_t step = 0, steps = 0;
  double loss = 0, learning_rate = 0, samples_per_second = 0;
  std::string phase;

  bool epoch_ended() const { return steps > 0 && step >= steps; }
};

/// "epoch 2/3 [=====>    ]  53 %  step 250/469  loss 0.3121  8123 samples/s", at most `columns` wide.
std::string progress_bar(const TrainingProgress& progress, int columns);

/// "epoch 2/3, step 250/469, loss 0.3121, 8123 samples/s".
std::string progress_line(const TrainingProgress& progress);

}  // namespace rondo::launcher
