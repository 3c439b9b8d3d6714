// Push: all-reduce over regions. The owner of a slice reads it from all ranks, sums it and stores the result to all, in
// one pass ("fused push").
//
// Worked example: four ranks, slices A B C D; every rank reads and writes the memory of the others.
//
//   hop 0    all tell all others "my data is ready" (signal 1) and wait for the same from them
//   hop 1    rank 0   A0, A1, A2, A3 := (A0 + A1) + (A2 + A3), divided     block by block; nobody else touches A
//            rank 1   B0, B1, B2, B3 := (B0 + B1) + (B2 + B3), divided     between the two rounds of signals
//            ...      and so on
//   hop 2    all tell all others "I am done with your data" (signal 2) and wait for the same from them
//
// Cost: two rounds of signals; 2 bytes moved a rank for each byte of the buffer, the least possible in shared memory
// when every rank is to have a result of its own. No scratch.
#include "comm/schedule/makers.h"
#include "comm/schedule/split.h"
#include "comm/schedule/writer.h"

namespace rondo::comm {
namespace {

constexpr uint64_t kReady = 1;
constexpr uint64_t kDone = 2;

void meet(Writer& writer, int hop, uint64_t value) {
  const auto each_peer = [&](auto act) {
    for (int peer = 0; peer < writer.world_size(); ++peer) {
      if (peer != writer.rank()) act(peer);
    }
  };
  each_peer([&](int peer) { writer.signal({.hop = hop}, peer, value); });
  each_peer([&](int peer) { writer.wait({.hop = hop}, peer, value); });
}

}  // namespace

Schedule push_all_reduce(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const Range slice = chunk_of(request.element_count, n, request.at.rank);
  const Writer::Title title{
      .goal = Goal::kAllReduce,
      .algorithm = "push",
      .order = Order::kCanonical,
      .hop_count = n == 1 ? 0 : 3,
      .segment_elements = usable_segment(
          {.longest = slice.count(), .segment_elements = request.segment_elements, .actions_per_segment = 1})};
  if (n == 1) return alone(request, title);
  Writer writer(request, title);
  writer.talks_to_all();
  if (request.element_count == 0) return writer.take();
  meet(writer, 0, kReady);
  for (int64_t index = 0; index * title.segment_elements < slice.count(); ++index) {
    const Range block = segment_of(slice, index, title.segment_elements);
    std::vector<Place> everywhere;
    for (int rank = 0; rank < n; ++rank) everywhere.push_back({.rank = rank, .space = Space::kData, .range = block});
    writer.reduce({.hop = 1, .segment = index}, everywhere, everywhere, Finality::kFinal);
  }
  meet(writer, 2, kDone);
  return writer.take();
}

}  // namespace rondo::comm
