// Chain: broadcast and all-reduce along a line of ranks, pipelined.
//
// Worked example, broadcast: four ranks, root 1, two segments s and t. Position in the chain = (rank - root) modulo 4.
//
//   rank 1 (root)   rank 2            rank 3            rank 0
//   sends s         gets s, sends s   gets s, sends s   gets s
//   sends t         gets t, sends t   gets t, sends t   gets t
//
// Rank 2 passes s on while t is still on its way to it. Cost: every rank but the last sends each byte once; time of
// (n - 2 + segments) segments instead of (n - 1) * segments. No cycle, so no deadlock.
//
// Worked example, all-reduce: four ranks, segment s; "s01" = s0 + s1.
//
//           rank 0       rank 1                rank 2                  rank 3
//   hop 0   sends s0     s01 = s0 + s1
//   hop 1                sends s01             s012 = s01 + s2
//   hop 2                                      sends s012              s = s012 + s3, divided
//   hop 3                                      gets s                  sends s
//   hop 4                gets s                sends s
//   hop 5   gets s       sends s
//
// Segment s comes back to rank r when segment s + 2(n-1-r) passes it on the way up. So that is how far r lets the way
// back lag behind, which keeps both ways busy. No deadlock: with slots to spare, rank r + 1 lags two segments less, and
// so has taken all that r must still send before it takes the next result.
//
// Cost: 2(n-1) hops, 2 times the bytes sent by a rank in the middle, all of them added by each. Linear order for every
// element, whatever the layout of the buffer; two neighbours a rank.
#include "comm/schedule/makers.h"
#include "comm/schedule/orders.h"
#include "comm/schedule/ring.h"
#include "comm/schedule/split.h"
#include "comm/schedule/writer.h"

namespace rondo::comm {
namespace {

Writer::Title title_of(const ScheduleRequest& request, Goal goal) {
  const int n = request.at.world_size;
  const bool sums = goal == Goal::kAllReduce;
  return {.goal = goal,
          .algorithm = "chain",
          .order = sums ? canonical_or(Order::kLinear, {}, n) : Order::kNone,
          .hop_count = sums ? 2 * (n - 1) : n - 1,
          .segment_elements = usable_segment({.longest = request.element_count,
                                              .segment_elements = request.segment_elements,
                                              .most_elements = request.most_message_elements,
                                              .actions_per_segment = sums ? 5 : 2})};
}

class ChainReduction {
 public:
  ChainReduction(const ScheduleRequest& request, const Writer::Title& title)
      : writer_(request, title), whole_{0, request.element_count}, at_(request.at) {}

  Schedule make() {
    const int last = at_.world_size - 1;
    if (at_.rank > 0) writer_.talks_to(at_.rank - 1);
    if (at_.rank < last) writer_.talks_to(at_.rank + 1);
    const int64_t segments = segment_count(whole_.count(), 1, writer_.segment_elements());
    const int64_t lag = 2 * (int64_t{last} - at_.rank);
    for (int64_t tick = 0; tick < segments + lag; ++tick) {
      if (tick < segments) up(tick, last);
      if (tick >= lag) down(tick - lag, last);
    }
    return writer_.take();
  }

 private:
  Place data(int64_t segment) const { return writer_.data(segment_of(whole_, segment, writer_.segment_elements())); }

  void up(int64_t segment, int last) {
    const Place own = data(segment);
    if (at_.rank > 0) {
      const Spot spot{.hop = at_.rank - 1, .segment = segment};
      const Place partial = writer_.scratch({.index = 0, .count = own.range.count()});
      writer_.receive(spot, at_.rank - 1, partial);
      writer_.reduce(spot, {partial, own}, {own}, at_.rank == last ? Finality::kFinal : Finality::kPartial);
    }
    if (at_.rank < last) writer_.send({.hop = at_.rank, .segment = segment}, at_.rank + 1, own);
  }

  void down(int64_t segment, int last) {
    const int hop = 2 * last - at_.rank;  // of the message to the rank below
    if (at_.rank < last) writer_.receive({.hop = hop - 1, .segment = segment}, at_.rank + 1, data(segment));
    if (at_.rank > 0) writer_.send({.hop = hop, .segment = segment}, at_.rank - 1, data(segment));
  }

  Writer writer_;
  const Range whole_;
  const Position at_;
};

}  // namespace

Schedule chain_all_reduce(const ScheduleRequest& request) {
  const auto title = title_of(request, Goal::kAllReduce);
  return request.at.world_size == 1 ? alone(request, title) : ChainReduction(request, title).make();
}

Schedule chain_broadcast(const ScheduleRequest& request) {
  const auto title = title_of(request, Goal::kBroadcast);
  Writer writer(request, title);
  const Position at = request.at;
  const int place_in_chain = ring::wrap(at.rank - request.root, at.world_size);
  const bool receives = place_in_chain > 0;
  const bool sends = place_in_chain + 1 < at.world_size;
  if (sends) writer.sends_to(ring::next(at).rank);
  if (receives) writer.receives_from(ring::previous(at).rank);
  for (int64_t segment = 0; segment < segment_count(request.element_count, 1, title.segment_elements); ++segment) {
    const Place data = writer.data(segment_of({0, request.element_count}, segment, title.segment_elements));
    if (receives) writer.receive({place_in_chain - 1, segment}, ring::previous(at).rank, data);
    if (sends) writer.send({place_in_chain, segment}, ring::next(at).rank, data);
  }
  return writer.take();
}

}  // namespace rondo::comm
