#include "tests/comm/sim/calls.h"

#include <algorithm>
#include <limits>
#include <type_traits>

namespace rondo::comm {
namespace {

std::string_view name(CallKind kind) {
  constexpr std::array<std::string_view, 5> kNames{"all_reduce", "reduce_scatter", "broadcast", "all_gather",
                                                   "barrier"};
  return kNames[static_cast<size_t>(kind)];
}

bool reduces(CallKind kind) { return kind == CallKind::kAllReduce || kind == CallKind::kReduceScatter; }

int64_t element_count(const Call& call, int ranks, int64_t segment_elements) {
  switch (call.size) {
    case CallSize::kNone:
      return 0;
    case CallSize::kOne:
      return 1;
    case CallSize::kRanksLessOne:
      return ranks - 1;
    case CallSize::kRanks:
      return ranks;
    case CallSize::kRanksAndOne:
      return ranks + 1;
    case CallSize::kPrime:
      return 97;
    case CallSize::kSegmentAndOne:
      return segment_elements + 1;
    case CallSize::kSegments:
      return 3 * ranks * segment_elements + 7;
  }
  return 0;
}

/// The part of a value that every rank shares.
int64_t shared_part(const Call& call, int64_t index) {
  return call.dtype == DType::kUInt8 ? index % 11 + call.number % 5 : index % 97 + 7 * call.number;
}
int64_t rank_part(const Call& call, int rank) { return (rank + 1) * (call.dtype == DType::kUInt8 ? 1 : 1000); }

/// What a rank hands in; exact in every type for up to 9 ranks.
int64_t contribution(const Call& call, int rank, int64_t index) {
  if (reduces(call.kind) && call.op == ReduceOp::kBitOr) return int64_t{1} << ((rank + index) % 8);
  return rank_part(call, rank) + shared_part(call, index);
}

int weight(const Call& call, int rank) { return (rank + call.number) % 3; }
int total_weight(const Call& call, int ranks) {
  int total = 0;
  for (int rank = 0; rank < ranks; ++rank) total += weight(call, rank);
  return total;
}

int64_t reduced(const Call& call, int ranks, int64_t index) {
  switch (call.op) {
    case ReduceOp::kSum:
      return rank_part(call, ranks - 1) * (ranks + 1) / 2 + ranks * shared_part(call, index);
    case ReduceOp::kMin:
      return contribution(call, 0, index);
    case ReduceOp::kMax:
      return contribution(call, ranks - 1, index);
    case ReduceOp::kBitOr: {
      int64_t bits = 0;
      for (int rank = 0; rank < std::min(ranks, 8); ++rank) bits |= contribution(call, rank, index);
      return bits;
    }
    case ReduceOp::kWeightedMean: {  // each operand is the total weight times its contribution
      int64_t sum = 0;
      for (int rank = 0; rank < ranks; ++rank) sum += weight(call, rank) > 0 ? contribution(call, rank, index) : 0;
      return sum;
    }
    default:
      return 0;
  }
}

/// The data are of type T.
template <typename T>
class CalledWith final : public Called {
 public:
  CalledWith(const Call& call, Group& group, int64_t segment_bytes)
      : Called(call), ranks_(group.world_size()), rank_(group.rank()) {
    const int64_t count = element_count(call, ranks_, std::max<int64_t>(1, segment_bytes / int64_t{sizeof(T)}));
    const CallOptions options{.tag = "call " + std::to_string(call.number),
                              .weight = static_cast<double>(weight(call, rank_))};
    switch (call.kind) {
      case CallKind::kAllReduce:
        values_ = filled(count, rank_);
        work_ = all_reduce(group, view(values_), call.op, options);
        return;
      case CallKind::kReduceScatter:
        input_ = filled(count * ranks_, rank_);
        values_.resize(static_cast<size_t>(count));
        work_ = reduce_scatter(group, view(input_), view(values_), call.op, options);
        return;
      case CallKind::kBroadcast:
        values_ = filled(count, rank_);
        work_ = broadcast(group, view(values_), {call.root % ranks_}, options);
        return;
      case CallKind::kAllGather:
        input_ = filled(count, rank_);
        values_.resize(static_cast<size_t>(count * ranks_));
        work_ = all_gather(group, view(input_), view(values_), options);
        return;
      case CallKind::kBarrier:
        work_ = barrier(group, options);
        return;
    }
  }

  std::string wrong() const override {
    const int64_t block = std::max<int64_t>(1, static_cast<int64_t>(input_.size()));
    for (size_t i = 0; i < values_.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      int64_t expected = 0;
      if (call_.kind == CallKind::kAllReduce) expected = reduced(call_, ranks_, index);
      if (call_.kind == CallKind::kReduceScatter) {
        expected = reduced(call_, ranks_, rank_ * static_cast<int64_t>(values_.size()) + index);
      }
      if (call_.kind == CallKind::kBroadcast) expected = contribution(call_, call_.root % ranks_, index);
      if (call_.kind == CallKind::kAllGather) {
        expected = contribution(call_, static_cast<int>(index / block), index % block);
      }
      if (values_[i] == static_cast<T>(expected)) continue;
      return describe(call_) + " on rank " + std::to_string(rank_) + " of " + std::to_string(ranks_) + ": element " +
             std::to_string(i) + " of " + std::to_string(values_.size()) + " is " + std::to_string(values_[i]) +
             ", not " + std::to_string(expected);
    }
    return {};
  }

 private:
  std::vector<T> filled(int64_t count, int rank) const {
    std::vector<T> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = operand(rank, i);
    return values;
  }
  T operand(int rank, int64_t index) const {
    const int64_t value = contribution(call_, rank, index);
    if (!reduces(call_.kind) || call_.op != ReduceOp::kWeightedMean) return static_cast<T>(value);
    // Of weight 0: it must not matter, whatever it is.
    if (weight(call_, rank) == 0) return std::numeric_limits<T>::quiet_NaN();
    return static_cast<T>(value * total_weight(call_, ranks_));
  }

  const int ranks_;
  const int rank_;
  std::vector<T> input_;  // of reduce_scatter and all_gather
  std::vector<T> values_;
};

}  // namespace

Call draw_call(Draws& draws, int group, int number) {
  Call call{.group = group, .number = number};
  call.kind = draws.one_of<CallKind>({CallKind::kAllReduce, CallKind::kAllReduce, CallKind::kReduceScatter,
                                      CallKind::kBroadcast, CallKind::kAllGather, CallKind::kBarrier});
  call.dtype = draws.one_of<DType>({DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kInt64, DType::kUInt8});
  call.op = is_floating(call.dtype)
                ? draws.one_of<ReduceOp>({ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax, ReduceOp::kWeightedMean})
                : draws.one_of<ReduceOp>({ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax, ReduceOp::kBitOr});
  call.root = draws.between(0, 8);
  call.size = static_cast<CallSize>(draws.below(8));
  return call;
}

std::string describe(const Call& call) {
  std::string text = "call " + std::to_string(call.number) + " (" + std::string(name(call.kind));
  if (call.kind != CallKind::kBarrier) text += " of " + std::string(comm::name(call.dtype));
  if (reduces(call.kind)) text += ", " + std::string(comm::name(call.op));
  return text + ", size " + std::to_string(static_cast<int>(call.size)) + ") in group " + std::to_string(call.group);
}

std::unique_ptr<Called> issue(const Call& call, Group& group, int64_t segment_bytes) {
  switch (call.dtype) {
    case DType::kFloat64:
      return std::make_unique<CalledWith<double>>(call, group, segment_bytes);
    case DType::kInt64:
      return std::make_unique<CalledWith<int64_t>>(call, group, segment_bytes);
    case DType::kInt32:
      return std::make_unique<CalledWith<int32_t>>(call, group, segment_bytes);
    case DType::kUInt8:
      return std::make_unique<CalledWith<uint8_t>>(call, group, segment_bytes);
    default:
      return std::make_unique<CalledWith<float>>(call, group, segment_bytes);
  }
}

}  // namespace rondo::comm
