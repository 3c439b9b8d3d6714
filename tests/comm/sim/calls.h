/// Collectives drawn from a seed, with data that differ by call, rank and index, and what every rank must hold
/// afterwards, in closed form.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rondo/comm/collectives.h"
#include "tests/comm/sim/draws.h"

namespace rondo::comm {

enum class CallKind : uint8_t { kAllReduce, kReduceScatter, kBroadcast, kAllGather, kBarrier };
/// How many elements, in terms of the group that makes the call.
enum class CallSize : uint8_t { kNone, kOne, kRanksLessOne, kRanks, kRanksAndOne, kPrime, kSegmentAndOne, kSegments };

struct Call {
  int group = 0;   // whose: 0 is the group of all ranks, others are splits of it
  int number = 0;  // of its program; in the data and the tag
  CallKind kind = CallKind::kAllReduce;
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;  // modulo the ranks of the group
  CallSize size = CallSize::kOne;
};
Call draw_call(Draws& draws, int group, int number);
std::string describe(const Call& call);

/// One rank's part in a call: issues it when made.
class Called {
 public:
  virtual ~Called() = default;
  const Call& call() const { return call_; }
  Work& work() { return work_; }
  /// Of a Work that ended ok: the first wrong element, in words; empty when all are right.
  virtual std::string wrong() const = 0;

 protected:
  explicit Called(const Call& call) : call_(call) {}
  const Call call_;
  Work work_;
};
std::unique_ptr<Called> issue(const Call& call, Group& group, int64_t segment_bytes);

}  // namespace rondo::comm
