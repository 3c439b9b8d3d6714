/// The walk that ring and halving share: segments go through all hops side by side, in lanes.
///
/// Note [Why lanes]
/// Chunks are cut into segments, so that a rank sends one while it adds another. Walking hop by hop (all segments of
/// hop 0, then all of hop 1) would deadlock as soon as there are more segments than slots: every rank would wait in a
/// send, none would receive. So a segment walks all hops before its successor starts, and `slots` segments walk side by
/// side, each in a *lane*: lane w carries the segments w, w + lanes, w + 2 lanes, ... In round k every lane in turn
/// receives its message k and at once sends its message k + 1. No deadlock: order all steps of all ranks by (round,
/// lane, receive before send) and look at the least step that anyone is stuck in. A receive cannot be it, since the
/// message belongs to an earlier step of the peer. A send cannot be it: the messages sent up to it that are received in
/// later steps are at most one a lane, whoever their peers are. Empty ranges only take messages away on both sides.
#pragma once

#include <algorithm>
#include <cstdint>

#include "comm/schedule/writer.h"

namespace rondo::comm {

struct LaneWalk {
  int64_t slots = 1;
  int64_t segments = 1;
  int hops = 1;
};

/// Calls receive(spot) and send(spot) in the order of Note [Why lanes]. Spots past the last segment are called too:
/// they hold no elements.
template <typename Receive, typename Send>
void walk_in_lanes(const LaneWalk& walk, Receive receive, Send send) {
  const int64_t lanes = std::min(walk.slots, walk.segments);
  const int64_t rounds = (walk.segments + lanes - 1) / lanes * walk.hops;
  for (int64_t lane = 0; lane < lanes; ++lane) send(Spot{.hop = 0, .segment = lane});
  for (int64_t round = 0; round < rounds; ++round) {
    const int hop = static_cast<int>(round % walk.hops);
    for (int64_t segment = round / walk.hops * lanes, lane = 0; lane < lanes; ++lane) {
      receive(Spot{.hop = hop, .segment = segment + lane});
      if (hop + 1 < walk.hops) {
        send(Spot{.hop = hop + 1, .segment = segment + lane});
      } else {
        send(Spot{.hop = 0, .segment = segment + lanes + lane});
      }
    }
  }
}

}  // namespace rondo::comm
