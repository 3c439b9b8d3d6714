/// Short names for the actions that algorithms emit. Pure; any thread.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "rondo/comm/schedule.h"

namespace rondo::comm::actions {

/// Where in an algorithm an action belongs: "hop 2, segment 5".
struct Spot {
  int hop = 0;
  int64_t segment = 0;
};

inline Action send(Spot spot, int peer, const Place& from) {
  return {.kind = ActionKind::kSend,
          .peer = peer,
          .hop = spot.hop,
          .segment = static_cast<int>(spot.segment),
          .from = {from}};
}
inline Action receive(Spot spot, int peer, const Place& to) {
  return {.kind = ActionKind::kReceive,
          .peer = peer,
          .hop = spot.hop,
          .segment = static_cast<int>(spot.segment),
          .to = {to}};
}
inline Action reduce(Spot spot, std::vector<Place> from, std::vector<Place> to, Finality finality) {
  return {.kind = ActionKind::kReduce,
          .finality = finality,
          .hop = spot.hop,
          .segment = static_cast<int>(spot.segment),
          .from = std::move(from),
          .to = std::move(to)};
}
inline Action copy(Spot spot, const Place& from, const Place& to) {
  return {.kind = ActionKind::kCopy,
          .hop = spot.hop,
          .segment = static_cast<int>(spot.segment),
          .from = {from},
          .to = {to}};
}
inline Action scale(Spot spot, const Place& to) {
  return {.kind = ActionKind::kScale, .hop = spot.hop, .segment = static_cast<int>(spot.segment), .to = {to}};
}
inline Action signal(Spot spot, int peer, uint64_t value) {
  return {.kind = ActionKind::kSignal, .peer = peer, .hop = spot.hop, .value = value};
}
inline Action wait(Spot spot, int peer, uint64_t value) {
  return {.kind = ActionKind::kWait, .peer = peer, .hop = spot.hop, .value = value};
}

}  // namespace rondo::comm::actions
