// Ring: all-reduce, reduce-scatter and all-gather. Every rank sends to the next one only.
//
// Worked example: four ranks, chunks A B C D, rank r holds its own version of each (A0 is rank 0's). "B01" = B0 + B1.
//
//           rank 0           rank 1           rank 2           rank 3
//   hop 0   sends A0 -> 1    sends B1 -> 2    sends C2 -> 3    sends D3 -> 0
//           D30 = D3 + D0    A01 = A0 + A1    B12 = B1 + B2    C23 = C2 + C3
//   hop 1   sends D30        sends A01        sends B12        sends C23
//           C230             D301             A012             B123
//   hop 2   sends C230       sends D301       sends A012       sends B123
//           B1230 complete   C2301 complete   D3012 complete   A0123 complete     <- and divided
//   hop 3   sends B, gets A  sends C, gets B  sends D, gets C  sends A, gets D
//   hop 4   sends A, gets D  sends B, gets A  sends C, gets B  sends D, gets C
//   hop 5   sends D, gets C  sends A, gets D  sends B, gets A  sends C, gets B    <- all four hold A B C D
//
// Reduce-scatter is the first half, begun one chunk lower so that rank r ends with chunk r; all-gather is the second.
//
// Cost: 2(n-1) messages and 2(n-1)/n of the bytes sent by each rank, (n-1)/n of the elements added by each: the least
// bandwidth possible between pairs (Patarasu and Yuan, "Bandwidth optimal all-reduce algorithms"). Each half: half.
#include "comm/schedule/ring.h"

#include "comm/schedule/lanes.h"
#include "comm/schedule/makers.h"
#include "comm/schedule/orders.h"
#include "comm/schedule/split.h"

namespace rondo::comm {
namespace {

/// All three: a stretch of the 2(n-1) hops of the whole all-reduce, over chunks that may be shifted.
class Ring {
 public:
  struct Stretch {
    int first_hop = 0;
    int hops = 0;
    int chunk_shift = 0;
  };

  Ring(const ScheduleRequest& request, const Writer::Title& title, const Stretch& stretch)
      : stretch_(stretch), writer_(request, title), at_(request.at), element_count_(request.element_count) {}

  Schedule make() {
    writer_.sends_to(ring::next(at_).rank);
    writer_.receives_from(ring::previous(at_).rank);
    const LaneWalk walk{.slots = writer_.schedule().slots,
                        .segments = segment_count(element_count_, at_.world_size, writer_.segment_elements()),
                        .hops = stretch_.hops};
    walk_in_lanes(
        walk, [&](Spot spot) { receive(spot); }, [&](Spot spot) { send(spot); });
    return writer_.take();
  }

 private:
  bool keeps_data() const { return writer_.schedule().goal == Goal::kReduceScatter; }
  int hop_in_whole(Spot spot) const { return stretch_.first_hop + spot.hop; }
  Range range(int chunk, Spot spot) const {
    const Range whole =
        chunk_of(element_count_, at_.world_size, ring::wrap(chunk + stretch_.chunk_shift, at_.world_size));
    return segment_of(whole, spot.segment, writer_.segment_elements());
  }
  // Where a partial sum arrives. Of reduce-scatter it is also sent from there, while up to `slots` messages before it
  // are still under way: see Note [When a sent range is free again].
  Place arrival(int64_t count) {
    const int64_t buffer = keeps_data() ? sent_ % (writer_.schedule().slots + 1) : 0;
    return writer_.scratch({.index = buffer, .count = count});
  }

  void send(Spot spot) {
    const Range sent = range(ring::sent_chunk(at_, hop_in_whole(spot)), spot);
    if (sent.count() == 0) return;
    const bool is_partial = keeps_data() && spot.hop > 0;
    writer_.send(spot, ring::next(at_).rank, is_partial ? arrival(sent.count()) : writer_.data(sent));
    ++sent_;
  }

  void receive(Spot spot) {
    const int hop = hop_in_whole(spot);
    const Range received = range(ring::received_chunk(at_, hop), spot);
    if (received.count() == 0) return;
    const int peer = ring::previous(at_).rank;
    const Place own = writer_.data(received);
    if (!ring::is_reducing(at_.world_size, hop)) return writer_.receive(spot, peer, own);
    const Place partial = arrival(received.count());
    const bool last = hop + 2 == at_.world_size;
    const Place to = !keeps_data() ? own : last ? writer_.result(received) : partial;
    writer_.receive(spot, peer, partial);
    writer_.reduce(spot, {partial, own}, {to}, last ? Finality::kFinal : Finality::kPartial);
  }

  const Stretch stretch_;
  Writer writer_;
  const Position at_;
  const int64_t element_count_;
  int64_t sent_ = 0;
};

Schedule make(const ScheduleRequest& request, Goal goal, const Ring::Stretch& stretch) {
  const int n = request.at.world_size;
  const bool sums = goal != Goal::kAllGather;
  const Writer::Title title{
      .goal = goal,
      .algorithm = "ring",
      .order = sums ? canonical_or(Order::kByChunk, {}, n) : Order::kNone,
      .hop_count = stretch.hops,
      .segment_elements = usable_segment({.longest = chunk_of(request.element_count, n, 0).count(),
                                          .segment_elements = request.segment_elements,
                                          .most_elements = request.most_message_elements,
                                          .actions_per_segment = 3 * int64_t{stretch.hops}})};
  return n == 1 ? alone(request, title) : Ring(request, title, stretch).make();
}

}  // namespace

Schedule ring_all_reduce(const ScheduleRequest& request) {
  return make(request, Goal::kAllReduce, {.hops = ring::hop_count(request.at.world_size)});
}

Schedule ring_reduce_scatter(const ScheduleRequest& request) {
  return make(request, Goal::kReduceScatter, {.hops = request.at.world_size - 1, .chunk_shift = -1});
}

Schedule ring_all_gather(const ScheduleRequest& request) {
  const int half = request.at.world_size - 1;
  return make(request, Goal::kAllGather, {.first_hop = half, .hops = half, .chunk_shift = -1});
}

}  // namespace rondo::comm
