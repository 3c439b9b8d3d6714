// Push: all-reduce over regions. The owner of a slice reads it from all ranks, sums it and stores the result to all, in
// one pass ("fused push").
//
// Worked example: four ranks, slices A B C D; every rank reads and writes the memory of the others.
//
//   all      tell all others "my data is ready" (signal 1) and wait for the same from them
//   rank 0   A0, A1, A2, A3 := (A0 + A1) + (A2 + A3), divided     block by block; nobody else touches A between the
//   rank 1   B0, B1, B2, B3 := (B0 + B1) + (B2 + B3), divided     two rounds of signals
//   ...      and so on
//   all      tell all others "I am done with your data" (signal 2) and wait for the same from them
//
// Cost: two rounds of signals; 2 bytes moved a rank for each byte of the buffer, the least possible in shared memory
// when every rank is to have a result of its own. No scratch.
#include <algorithm>

#include "comm/schedule/actions.h"
#include "comm/schedule/makers.h"
#include "comm/schedule/split.h"

namespace rondo::comm {
namespace {

constexpr uint64_t kReady = 1;
constexpr uint64_t kDone = 2;

void meet(Schedule& schedule, int hop, uint64_t value) {
  for (const int peer : schedule.sends_to) schedule.actions.push_back(actions::signal({.hop = hop}, peer, value));
  for (const int peer : schedule.receives_from) schedule.actions.push_back(actions::wait({.hop = hop}, peer, value));
}

}  // namespace

Schedule push_all_reduce(const ScheduleRequest& request) {
  const Position at = request.at;
  Schedule schedule{.at = at,
                    .goal = Goal::kAllReduce,
                    .algorithm = "push",
                    .order = Order::kCanonical,
                    .element_count = request.element_count};
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
  const int64_t block_elements = usable_segment(request);
  const Range slice = chunk_of(request.element_count, at.world_size, at.rank);
  meet(schedule, 0, kReady);
  for (int64_t index = 0; index * block_elements < slice.count(); ++index) {
    const Range block = segment_of(slice, index, block_elements);
    std::vector<Place> everywhere;
    for (int rank = 0; rank < at.world_size; ++rank) {
      everywhere.push_back({.rank = rank, .space = Space::kData, .range = block});
    }
    schedule.actions.push_back(actions::reduce({.hop = 1, .segment = index}, everywhere, everywhere, Finality::kFinal));
  }
  meet(schedule, 2, kDone);
  return schedule;
}

}  // namespace rondo::comm
