// Ring all-reduce and ring all-gather.
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
// Cost: 2(n-1) messages and 2(n-1)/n of the bytes sent by each rank, (n-1)/n of the elements added by each: the least
// bandwidth possible between pairs (Patarasu and Yuan, "Bandwidth optimal all-reduce algorithms").
//
// Note [Why lanes]
// Chunks are cut into segments, so that a rank sends one while it adds another. Walking hop by hop (all segments of hop
// 0, then all of hop 1) would deadlock as soon as there are more segments than slots: every rank would wait in a send,
// none would receive. So a segment walks all hops before its successor starts, and `slots` segments walk side by side,
// each in a *lane*: lane w carries the segments w, w + lanes, w + 2 lanes, ... In round k every lane in turn receives
// its message k and at once sends its message k + 1. No deadlock: order all steps of all ranks by (round, lane, receive
// before send) and look at the least step that anyone is stuck in. A receive cannot be it, since the message belongs to
// an earlier step of the predecessor. A send cannot be it: of the `slots` messages sent before it, the oldest belongs
// to the same (round, lane) at the successor, who is past that step. Empty ranges only take messages away on both
// sides.
#include "comm/schedule/ring.h"

#include <algorithm>

#include "comm/schedule/actions.h"
#include "comm/schedule/makers.h"
#include "comm/schedule/split.h"

namespace rondo::comm {
namespace {

/// The walk that all-reduce (2(n-1) hops) and all-gather (the last n-1 of them) share.
struct Walk {
  ScheduleRequest request;
  int first_hop = 0;    // in the numbering of the whole all-reduce
  int chunk_shift = 0;  // all-gather starts with the own block, not with the owned chunk
};

class Walker {
 public:
  Walker(const Walk& walk, Schedule& schedule)
      : walk_(walk),
        schedule_(schedule),
        at_(walk.request.at),
        segment_elements_(usable_segment(walk.request)),
        segments_(segment_count(walk.request.element_count, at_.world_size, segment_elements_)),
        hops_(ring::hop_count(at_.world_size) - walk.first_hop) {}

  void run() {
    const int64_t lanes = std::min<int64_t>(schedule_.slots, segments_);
    const int64_t rounds = (segments_ + lanes - 1) / lanes * hops_;
    for (int64_t lane = 0; lane < lanes; ++lane) send({lane, 0});
    for (int64_t round = 0; round < rounds; ++round) {
      for (int64_t segment = round / hops_ * lanes, lane = 0; lane < lanes; ++lane) {
        const int hop = static_cast<int>(round % hops_);
        receive({segment + lane, hop});
        if (hop + 1 < hops_) {
          send({segment + lane, hop + 1});
        } else {
          send({segment + lanes + lane, 0});
        }
      }
    }
  }

 private:
  struct Step {
    int64_t segment = 0;
    int hop = 0;
  };

  Range range(int chunk, int64_t segment) const {
    if (segment >= segments_) return {};
    const Range whole =
        chunk_of(walk_.request.element_count, at_.world_size, ring::wrap(chunk + walk_.chunk_shift, at_.world_size));
    return segment_of(whole, segment, segment_elements_);
  }
  Place data(Range range) const { return {.rank = at_.rank, .space = Space::kData, .range = range}; }

  void send(Step step) {
    const Range sent = range(ring::sent_chunk(at_, walk_.first_hop + step.hop), step.segment);
    if (sent.count() == 0) return;
    schedule_.actions.push_back(actions::send({step.hop, step.segment}, ring::next(at_).rank, data(sent)));
  }

  void receive(Step step) {
    const int hop = walk_.first_hop + step.hop;
    const Range received = range(ring::received_chunk(at_, hop), step.segment);
    if (received.count() == 0) return;
    const actions::Spot spot{step.hop, step.segment};
    const int peer = ring::previous(at_).rank;
    if (!ring::is_reducing(at_.world_size, hop)) {
      schedule_.actions.push_back(actions::receive(spot, peer, data(received)));
      return;
    }
    const Place partial{.rank = at_.rank, .space = Space::kScratch, .range = {0, received.count()}};
    schedule_.scratch_elements = std::max(schedule_.scratch_elements, received.count());
    schedule_.actions.push_back(actions::receive(spot, peer, partial));
    const auto finality = hop + 2 == at_.world_size ? Finality::kFinal : Finality::kPartial;
    schedule_.actions.push_back(actions::reduce(spot, {partial, data(received)}, {data(received)}, finality));
  }

  const Walk walk_;
  Schedule& schedule_;
  const Position at_;
  const int64_t segment_elements_;
  const int64_t segments_;
  const int hops_;
};

Schedule neighbours(const ScheduleRequest& request) {
  Schedule schedule{.at = request.at, .algorithm = "ring", .element_count = request.element_count};
  if (request.at.world_size > 1) {
    schedule.sends_to = {ring::next(request.at).rank};
    schedule.receives_from = {ring::previous(request.at).rank};
  }
  return schedule;
}

}  // namespace

Schedule ring_all_reduce(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  Schedule schedule = neighbours(request);
  schedule.order = Order::kByChunk;
  schedule.hop_count = ring::hop_count(n);
  if (n > 1) {
    Walker({.request = request}, schedule).run();
  } else if (request.element_count > 0) {
    schedule.actions.push_back(
        actions::scale({}, {.rank = 0, .space = Space::kData, .range = {0, request.element_count}}));
  }
  return schedule;
}

Schedule ring_all_gather(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  Schedule schedule = neighbours(request);
  schedule.goal = Goal::kAllGather;
  schedule.hop_count = n - 1;
  if (n > 1) Walker({.request = request, .first_hop = n - 1, .chunk_shift = -1}, schedule).run();
  return schedule;
}

}  // namespace rondo::comm
