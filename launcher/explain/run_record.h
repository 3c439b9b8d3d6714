/// Everything that a run's folder and this machine say about its ranks: the input of findings.h.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/flight.h"

namespace rondo::launcher {

/// What events.jsonl says about how a rank ended.
struct RankExit {
  int exit_code = 0;
  int signal = 0;  // 0: by exit
  bool stopped_by_launcher = false;
  bool good() const { return exit_code == 0 && signal == 0; }
};

struct RankRecord {
  int rank = 0;
  int pid = 0;  // 0: unknown
  std::optional<RankExit> exit;
  std::optional<comm::Flight> flight;
  std::string problem;   // why there is no flight, when there is a file
  bool missing = false;  // its host did not send it when it was last asked to
  char process = '\0';   // its state as of /proc: R S D T Z ...; 0: not looked at, or gone
};

enum class RunState {
  kRunning,
  kEndedWell,
  kFailed,   // a rank decided the exit code
  kStopped,  // by a signal to the launcher
  kCut,      // the launcher was killed: it wrote no end
  kUnknown,  // no launcher of ours: the ranks wrote their records themselves
};

struct RunRecord {
  std::string folder;  // as the user would type it
  RunState state = RunState::kUnknown;
  int exit_code = 0;  // of the run, when it ended
  int culprit = -1;   // the rank that the launcher named
  std::string cause;  // "killed by signal 9 (SIGKILL)"
  std::vector<RankRecord> ranks;
  uint64_t now_ns = 0;  // the moment that the records describe, CLOCK_MONOTONIC
};

/// The run that `word` names: "latest", a folder, or a name in runs/. kInvalidArgument names the nearest.
comm::Result<std::string> find_run(const std::string& word);

/// Reads the folder. kIo when it cannot be read; a rank's broken flight record is that rank's `problem`.
comm::Result<RunRecord> read_run(const std::string& folder);

/// Each host counts CLOCK_MONOTONIC from a beginning of its own. Moves the times of all hosts onto one clock: what the
/// agents took last, on each host, they took at the same moment. Pure.
void align_clocks(RunRecord& run);

/// The part of read_run() that events.jsonl decides. `launcher_lives`: it may still write to it. Pure.
enum class Launcher { kLives, kGone };
void apply_events(const std::string& events, Launcher launcher, RunRecord& run);

}  // namespace rondo::launcher
