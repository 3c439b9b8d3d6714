/// Who is where, who waits for whom, who is behind, who died: read out of the flight records of all ranks. Pure.
///
/// Sequence numbers are the key: collectives of a group are called in the same order on all ranks, so the rank with the
/// lowest one is what the others wait for, and two different calls under one number are a mismatch.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/explain/run_record.h"

namespace rondo::launcher {

enum class FindingKind {
  kDied,      // `ranks` ended badly
  kStopped,   // `ranks` do not beat
  kMismatch,  // under `sequence`, ranks called different things
  kBehind,    // `ranks` are behind, `waiting` wait for them
  kLeft,      // `ranks` closed the group, `waiting` go on
  kForming,   // `ranks` create a group, `waiting` is empty
  kWaiting,   // all are in the same call
  kIdle,      // nothing under way
  kError,     // what a rank said when it failed
};
const char* name(FindingKind kind);

struct Finding {
  FindingKind kind;
  std::string group;  // empty: of no group
  std::vector<int> ranks, waiting;
  std::optional<uint64_t> sequence;
  std::string text;
};

/// Where one rank stands in one group.
struct Standing {
  int rank = 0;
  std::string group;
  comm::Position at;
  bool open = true;
  uint64_t called = 0, finished = 0;
  std::optional<comm::FlightRecord> current;        // the oldest that is not finished
  std::optional<comm::FlightRecord> last_finished;  // the youngest that is
};

struct Explanation {
  std::vector<Finding> findings;  // the most telling first
  std::vector<Standing> standings;
};

/// Silence of the keeper after which a rank counts as stopped: 12 beats.
inline constexpr uint64_t kSilentNs = 250'000'000;

Explanation explain(const RunRecord& run);

/// "rank 3", "ranks 0, 1 and 2", "ranks 0-62 and 64".
std::string ranks_text(std::vector<int> ranks);
/// "250 us", "310 ms", "41.2 s", "12 min 3 s".
std::string duration_text(uint64_t nanoseconds);

}  // namespace rondo::launcher
