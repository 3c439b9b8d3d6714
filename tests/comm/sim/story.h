/// What one seed stands for: a job, its groups and calls, how its ranks take turns, and what goes wrong.
///
/// A pure function of the seed. Every rank makes the same calls on a group in the same order.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "comm/sim/injector.h"
#include "comm/sim/scheduler.h"
#include "comm/sim/sim_env.h"
#include "tests/comm/sim/calls.h"

namespace rondo::comm {

/// What goes wrong beyond delays, storms, starvation and stalls, which any story may have and every call must survive.
enum class Trouble : uint8_t {
  kNone,
  kFlips,     // bytes change on the wire
  kDrops,     // connections are reset
  kMutes,     // connections swallow what is sent
  kDeath,     // a rank is killed
  kFrozen,    // a rank does not go on, and no kernel says why
  kAbort,     // a rank gives up its group of all ranks
  kMismatch,  // a rank makes another call than the others
};
inline constexpr size_t kTroubleCount = 8;
std::string_view name(Trouble trouble);

/// One line of the program that all ranks carry out: a call, or a split of group 0 that makes group `split`.
struct Line {
  int split = 0;  // 0: a call
  Call call;
};

struct Story {
  uint64_t seed = 1;
  int ranks = 2;
  TransportKind transport = TransportKind::kInproc;
  std::string algorithm;  // of all groups; empty: chosen
  int64_t segment_bytes = 256;
  std::chrono::milliseconds operation_timeout{30'000};
  std::vector<Line> lines;
  /// By split, from group 1: the color of each rank, and whether a rank closes it as soon as its own calls are done.
  struct Split {
    std::vector<int> colors;
    enum class Close : uint8_t { kEarly, kAtTheEnd } close = Close::kAtTheEnd;
  };
  std::vector<Split> splits;
  /// How many calls a rank has in flight; 0: it issues all first, those of different groups in an order of its own.
  int window = 0;
  Trouble trouble = Trouble::kNone;
  int victim = -1;      // of kDeath, kFrozen, kAbort and kMismatch
  int after_turns = 0;  // of the victim: when it freezes, aborts, or dies where no fault is planned that kills it
  Call other_call;      // what it calls instead of the call of this number
  Duration death_known_after{0};
  FaultPlan faults;
  SimOptions sim;
  SchedulerOptions schedule;
};
Story draw_story(uint64_t seed);
/// The lines in the order in which `rank` issues them.
std::vector<Line> lines_of(const Story& story, int rank);
std::string describe(const Story& story);

}  // namespace rondo::comm
