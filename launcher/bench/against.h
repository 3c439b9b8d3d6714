/// `rondo bench --against`: measures Rondo and its rivals in turn, round by round, and compares them.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "launcher/agent/run_folder.h"
#include "launcher/bench/contenders.h"

namespace rondo::launcher {

struct AgainstRequest {
  std::vector<Rival> rivals;
  Field field;
  int rounds = 9;
  std::vector<std::string> flags;      // for every driver: operation, sizes, cpus, ...
  std::vector<std::string> our_flags;  // for Rondo's alone
  std::string json_file;               // empty: none
  std::string title;                   // "all_reduce float32, 2 ranks"
  std::chrono::milliseconds grace{10'000};
  RunFolderOptions folder;  // holds a folder for each start
};

/// Prints tables to stdout and progress to stderr. The exit code; an error means that nothing was measured.
comm::Result<int> measure_against(const AgainstRequest& request);

}  // namespace rondo::launcher
