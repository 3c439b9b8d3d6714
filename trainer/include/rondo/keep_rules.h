/// Which checkpoints of a run stay.
#pragma once

#include <cstdint>
#include <string>

namespace rondo {

/// The newest valid checkpoint and the best one always stay. What is removed goes after the new one is on the disk.
struct KeepRules {
  int newest = 0;           // so many valid ones; 0: all
  std::string best_metric;  // the link `best` points to the checkpoint where this metric was best; empty: no link
  enum class Better : uint8_t { kLower, kHigher } better = Better::kLower;
};

}  // namespace rondo
