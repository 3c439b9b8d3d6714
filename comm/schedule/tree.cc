// Binomial tree: broadcast in log2(n) hops.
//
// Worked example: six ranks, root 0. In every hop each rank that has the data gives it to one that has not.
//
//   hop 0   0 -> 4
//   hop 1   0 -> 2   4 -> (6)                there is no 6
//   hop 2   0 -> 1   2 -> 3   4 -> 5
//
// With numbers counted from the root: v gets the data from v without its lowest bit, and gives it to v + 1, v + 2,
// v + 4, ... below that bit, the farthest first, for it has the most to pass on.
//
// Cost: ceil(log2 n) hops; the root sends that many times the bytes. Segments follow one another down the tree, which
// has no cycle, so no deadlock.
#include <bit>

#include "comm/schedule/makers.h"
#include "comm/schedule/ring.h"
#include "comm/schedule/split.h"
#include "comm/schedule/writer.h"

namespace rondo::comm {

Schedule tree_broadcast(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const int depth = std::bit_width(static_cast<unsigned>(n - 1));
  const int self = ring::wrap(request.at.rank - request.root, n);  // counted from the root
  const int lowest_bit = self == 0 ? depth : std::countr_zero(static_cast<unsigned>(self));
  const Writer::Title title{.goal = Goal::kBroadcast,
                            .algorithm = "tree",
                            .hop_count = depth,
                            .segment_elements = usable_segment({.longest = request.element_count,
                                                                .segment_elements = request.segment_elements,
                                                                .most_elements = request.most_message_elements,
                                                                .actions_per_segment = int64_t{depth} + 1})};
  Writer writer(request, title);
  const auto rank_of = [&](int from_root) { return ring::wrap(from_root + request.root, n); };
  const int parent = rank_of(self & (self - 1));
  if (self != 0) writer.receives_from(parent);
  for (int bit = lowest_bit - 1; bit >= 0; --bit) {
    if (self + (1 << bit) < n) writer.sends_to(rank_of(self + (1 << bit)));
  }
  for (int64_t segment = 0; segment < segment_count(request.element_count, 1, title.segment_elements); ++segment) {
    const Place data = writer.data(segment_of({0, request.element_count}, segment, title.segment_elements));
    if (self != 0) writer.receive({depth - 1 - lowest_bit, segment}, parent, data);
    for (int bit = lowest_bit - 1; bit >= 0; --bit) {
      if (self + (1 << bit) < n) writer.send({depth - 1 - bit, segment}, rank_of(self + (1 << bit)), data);
    }
  }
  return writer.take();
}

}  // namespace rondo::comm
