/// Proves a schedule, all ranks of it together, without data: every result holds each rank exactly once in the declared
/// order, passed through the wire type where it must, and is final exactly once; no message is unmatched, nothing
/// deadlocks with `slots` messages a pair, and no two unordered accesses touch the same elements where one is a store
/// (vector clocks over messages, signal and wait).
///
/// Pure; any thread. Cost: by the number of actions and peers, not of elements.
#pragma once

#include <cstdint>
#include <vector>

#include "rondo/comm/schedule.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

struct ScheduleCheck {
  int root = 0;                        // broadcast
  std::vector<int> host_of_rank = {};  // what Order::kByHost refers to; empty: all ranks on one host
  std::vector<Schedule> ranks = {};    // index = rank; they name goal, order and wire
};

/// What was looked at on the way to the proof, of all ranks together.
struct Proof {
  int64_t actions = 0;
  int64_t messages = 0;
  int64_t accesses = 0;  // of a place by an action, each ordered against all others that touch the same elements
};

/// The proof, or kInvalidArgument with rank, action index and what is wrong with it.
Result<Proof> check_schedules(const ScheduleCheck& request);

}  // namespace rondo::comm
