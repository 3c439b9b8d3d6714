/// Proves a schedule, all ranks of it together, without data: every output holds each rank exactly once in the declared
/// order, no message is unmatched, nothing deadlocks with `slots` messages a pair, and no two unordered accesses touch
/// the same elements where one is a store (vector clocks over messages, signal and wait).
#pragma once

#include <string>
#include <vector>

#include "comm/schedule/schedule.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// What the final data of every rank must be.
enum class Goal : uint8_t { kAllReduce, kAllGather, kBroadcast };

struct CheckRequest {
  Goal goal = Goal::kAllReduce;
  int root = 0;                 // kBroadcast
  std::vector<Schedule> ranks;  // index = rank
};

/// Ok, or kInvalidArgument with rank, action index and what is wrong with it.
Status check(const CheckRequest& request);

}  // namespace rondo::comm
