/// Proves a schedule, all ranks of it together, without data: every result holds each rank exactly once in the declared
/// order and is final exactly once, no message is unmatched, nothing deadlocks with `slots` messages a pair, and no two
/// unordered accesses touch the same elements where one is a store (vector clocks over messages, signal and wait).
///
/// Pure; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "rondo/comm/schedule.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

struct CheckRequest {
  int root = 0;                        // broadcast
  std::vector<int> host_of_rank = {};  // what Order::kByHost refers to; empty: all ranks on one host
  std::vector<Schedule> ranks = {};    // index = rank; they name the goal, the order and the wire
};

/// Ok, or kInvalidArgument with rank, action index and what is wrong with it.
Status check(const CheckRequest& request);

}  // namespace rondo::comm
