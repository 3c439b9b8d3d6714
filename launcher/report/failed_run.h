/// What is known about a run that failed: the input of the report, of failure.json and of what they say. Plain data.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "launcher/agent/console.h"
#include "launcher/agent/failure.h"

namespace rondo::launcher {

struct RankStory {
  int rank = 0;
  int pid = 0;
  std::string host;
  RankEvidence evidence;
  std::deque<std::string> last_lines;  // printable
  std::string log_path;                // empty: its host was lost before it said so
  std::string doing;                   // see deeds.h; empty: not known
  Channel stream = Channel::kErrors;   // whose lines and log
  const char* stream_name() const { return stream == Channel::kErrors ? "stderr" : "stdout"; }
};

struct FailedRun {
  std::vector<RankStory> ranks;
  int culprit = 0;
  std::vector<std::string> findings;  // of `rondo explain`
  std::vector<std::string> command;   // argv of `rondo`, to run it again
  std::string folder;                 // as the user would type it
  int generation = 0;                 // the restart that failed; 0: the first start

  const RankStory& first() const { return ranks[static_cast<size_t>(culprit)]; }
};

}  // namespace rondo::launcher
