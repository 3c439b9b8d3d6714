// Pipelined chain broadcast.
//
// Worked example: four ranks, root 1, two segments s and t. Position in the chain = (rank - root) modulo 4.
//
//   rank 1 (root)   rank 2            rank 3            rank 0
//   sends s         gets s, sends s   gets s, sends s   gets s
//   sends t         gets t, sends t   gets t, sends t   gets t
//
// Rank 2 passes s on while t is still on its way to it. Cost: every rank but the last sends each byte once; time of
// (n - 2 + segments) segments instead of (n - 1) * segments. The chain has no cycle, so it cannot deadlock.
//
// Descriptors go round the whole ring, both ways, and not along the chain: who is in the chain's middle depends on the
// root, so ranks that disagree about the root would wait for descriptors that nobody sends, and never find out why.
#include <algorithm>

#include "comm/schedule/actions.h"
#include "comm/schedule/makers.h"
#include "comm/schedule/ring.h"
#include "comm/schedule/split.h"

namespace rondo::comm {

Schedule chain_broadcast(const ScheduleRequest& request) {
  const Position at = request.at;
  const int place_in_chain = ring::wrap(at.rank - request.root, at.world_size);
  Schedule schedule{.at = at, .goal = Goal::kBroadcast, .algorithm = "chain", .element_count = request.element_count};
  schedule.hop_count = at.world_size - 1;
  const bool receives = place_in_chain > 0;
  const bool sends = place_in_chain + 1 < at.world_size;
  if (at.world_size > 1) {
    const auto [low, high] = std::minmax({ring::previous(at).rank, ring::next(at).rank});
    schedule.sends_to = low == high ? std::vector{low} : std::vector{low, high};
    schedule.receives_from = schedule.sends_to;
  }
  if (request.element_count == 0) return schedule;
  const int64_t segment_elements = usable_segment(request);
  const int64_t segments = segment_count(request.element_count, 1, segment_elements);
  for (int64_t segment = 0; segment < segments; ++segment) {
    const Range range = segment_of({0, request.element_count}, segment, segment_elements);
    const Place data{.rank = at.rank, .space = Space::kData, .range = range};
    if (receives) {
      schedule.actions.push_back(actions::receive({place_in_chain - 1, segment}, ring::previous(at).rank, data));
    }
    if (sends) schedule.actions.push_back(actions::send({place_in_chain, segment}, ring::next(at).rank, data));
  }
  return schedule;
}

}  // namespace rondo::comm
