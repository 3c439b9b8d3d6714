/// What the launcher says about a failed run. A pure function.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "launcher/agent/failure.h"

namespace rondo::launcher {

struct RankStory {
  int rank = 0;
  int pid = 0;
  std::string host;
  RankEvidence evidence;
  std::deque<std::string> last_lines;  // of stderr, printable
  std::string log_path;
};

/// Lines for stderr. The first is "rank 1 (host H, pid P) killed by signal 9 (SIGKILL)"; then what the rank said
/// itself, its last lines, and the ranks that ended because of it, on one line.
std::vector<std::string> failure_report(const std::vector<RankStory>& ranks, int culprit);

}  // namespace rondo::launcher
