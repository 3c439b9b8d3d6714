/// `rondo bench train`: trains nets with Rondo and, in turn, with PyTorch's DistributedDataParallel, and compares.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "launcher/agent/run_folder.h"

namespace rondo::launcher {

struct TrainingBench {
  std::vector<std::string> models;
  enum class Rival : uint8_t { kNone, kPyTorch } rival = Rival::kNone;
  int ranks = 2;
  int rounds = 9;
  int64_t batch = 0;  // of a rank; 0: by model
  enum class Effort : uint8_t { kFull, kQuick } effort = Effort::kFull;
  std::string json_file;  // empty: none
  std::chrono::milliseconds grace{10'000};
  RunFolderOptions folder;  // holds a folder for each start
};

/// The nets that can be measured.
std::vector<std::string> training_models();

/// Prints tables to stdout and progress to stderr. The exit code, 1 when a contender's loss differs; an error means
/// that nothing was measured.
comm::Result<int> measure_training(const TrainingBench& bench);

}  // namespace rondo::launcher
