// Direct all-reduce over regions ("fused push"): the owner of a slice reads it from all ranks, sums it in canonical
// order and stores the result to all.
//
// Worked example: four ranks, slices A B C D; every rank reads and writes the memory of the others.
//
//   all      tell all others "my data is ready" (signal 1) and wait for the same from them
//   rank 0   s := A2 + A3;  A0 := (A0 + A1) + s;  scales A0;  copies it to ranks 1, 2, 3
//   rank 1   s := B2 + B3;  B1 := (B0 + B1) + s;  scales B1;  copies it to ranks 2, 3, 0
//   rank 2   s := C2 + C3;  t := (C0 + C1) + s;   scales t;   copies it to ranks 3, 0, 1 and its own C2
//   ...      and so on: only the owner touches a slice between the two rounds of signals
//   all      tell all others "I am done with your data" (signal 2) and wait for the same from them
//
// Cost: two rounds of signals; 2 bytes moved a rank for each byte of the buffer, the least possible in shared memory.
//
// Note [Canonical order]
// T(lo, hi) = T(lo, lo + p) + T(lo + p, hi) with p the largest power of two below hi - lo. Down its left edge such a
// tree is a left fold: T(0, 8) = ((x0 + x1) + T(2, 4)) + T(4, 8). So one kReduce folds the edge, after the right-hand
// trees were summed into scratch; the largest is summed first, so that log2(n) blocks of scratch suffice.
#include <algorithm>

#include "comm/schedule/actions.h"
#include "comm/schedule/ring.h"
#include "comm/schedule/split.h"

namespace rondo::comm {
namespace {

constexpr uint64_t kReady = 1;
constexpr uint64_t kDone = 2;

/// Elements summed at a time: small enough that a block stays in the cache until it has been copied to all.
constexpr int64_t kBlockElements = 16 * 1024;

/// Emits one block of the owner's slice.
class Block {
 public:
  Block(Schedule& schedule, actions::Spot spot, Range range) : schedule_(schedule), spot_(spot), range_(range) {}

  void emit() {
    const int n = schedule_.at.world_size;
    const int self = schedule_.at.rank;
    // The own operand is folded in place only if it is the first or the second of the outermost fold.
    const Place result = self < 2 ? data(self) : take_scratch();
    emit_tree({0, n}, result);
    schedule_.actions.push_back(actions::scale(spot_, result));
    for (int step = 1; step < n; ++step) {
      schedule_.actions.push_back(actions::copy(spot_, result, data(ring::wrap(self + step, n))));
    }
    if (self >= 2) schedule_.actions.push_back(actions::copy(spot_, result, data(self)));
  }

 private:
  struct Ranks {
    int lo = 0;
    int hi = 0;
  };

  Place data(int rank) const { return {.rank = rank, .space = Space::kData, .range = range_}; }

  Place take_scratch() {
    const int64_t begin = blocks_in_use_++ * range_.count();
    schedule_.scratch_elements = std::max(schedule_.scratch_elements, begin + range_.count());
    return {.rank = schedule_.at.rank, .space = Space::kScratch, .range = {begin, begin + range_.count()}};
  }

  // to := T(ranks.lo, ranks.hi). Recursion: at most log2(n) deep.
  void emit_tree(Ranks ranks, const Place& to) {
    std::vector<Ranks> edge{{ranks.lo, ranks.lo + 1}};
    for (int p = 1; ranks.lo + p < ranks.hi; p *= 2) {
      edge.push_back({ranks.lo + p, std::min(ranks.lo + 2 * p, ranks.hi)});
    }
    const int64_t in_use_before = blocks_in_use_;
    std::vector<Place> operands(edge.size());
    for (size_t i = edge.size(); i-- > 0;) {
      if (edge[i].hi - edge[i].lo == 1) {
        operands[i] = data(edge[i].lo);
      } else {
        operands[i] = take_scratch();
        emit_tree(edge[i], operands[i]);
      }
    }
    schedule_.actions.push_back(actions::reduce(spot_, std::move(operands), to));
    blocks_in_use_ = in_use_before;
  }

  Schedule& schedule_;
  const actions::Spot spot_;
  const Range range_;
  int64_t blocks_in_use_ = 0;
};

void meet(Schedule& schedule, int hop, uint64_t value) {
  for (const int peer : schedule.sends_to) schedule.actions.push_back(actions::signal({.hop = hop}, peer, value));
  for (const int peer : schedule.receives_from) schedule.actions.push_back(actions::wait({.hop = hop}, peer, value));
}

}  // namespace

Schedule direct_all_reduce(const ScheduleRequest& request) {
  const Position at = request.at;
  Schedule schedule{
      .at = at, .algorithm = "direct", .order = Order::kCanonical, .element_count = request.element_count};
  schedule.hop_count = at.world_size > 1 ? 3 : 0;
  for (int rank = 0; rank < at.world_size; ++rank) {
    if (rank != at.rank) schedule.sends_to.push_back(rank);
  }
  schedule.receives_from = schedule.sends_to;
  if (request.element_count == 0) return schedule;
  if (at.world_size == 1) {
    schedule.actions.push_back(
        actions::scale({}, {.rank = 0, .space = Space::kData, .range = {0, request.element_count}}));
    return schedule;
  }
  const int64_t block_elements = std::min(usable_segment(request), kBlockElements);
  const Range slice = chunk_of(request.element_count, at.world_size, at.rank);
  meet(schedule, 0, kReady);
  for (int64_t index = 0; index * block_elements < slice.count(); ++index) {
    Block(schedule, {.hop = 1, .segment = index}, segment_of(slice, index, block_elements)).emit();
  }
  meet(schedule, 2, kDone);
  return schedule;
}

}  // namespace rondo::comm
