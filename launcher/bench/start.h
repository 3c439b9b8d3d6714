/// `rondo bench start`: how soon ranks run, beside torchrun, in turn: a start, a restart after a kill, and the first
/// step of a training.
#pragma once

#include <string>
#include <vector>

#include "launcher/agent/run_folder.h"
#include "launcher/bench/start_rows.h"

namespace rondo::launcher {

struct StartBench {
  std::vector<StartCase> cases{kStartCases.begin(), kStartCases.end()};
  enum class Rival : uint8_t { kNone, kTorchrun } rival = Rival::kNone;
  int ranks = 2;
  int rounds = 9;
  std::string model = "mlp";  // whose first step is timed
  enum class Effort : uint8_t { kFull, kQuick } effort = Effort::kFull;
  std::string json_file;    // empty: none
  RunFolderOptions folder;  // holds a folder for each start
};

/// Prints tables to stdout and progress to stderr. What is not installed is left out with a line that says how to get
/// it. The exit code, 1 when the losses of the first steps differ; an error means that nothing was measured.
comm::Result<int> measure_start(const StartBench& bench);

}  // namespace rondo::launcher
