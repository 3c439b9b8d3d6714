/// An algorithm as data: what one rank does, in order, to the elements of a collective. Made by pure functions, proven
/// by the checker, carried out by any executor.
///
/// Words: a *chunk* is one rank's 1/n of the elements, a *segment* a pipelined part of it, a *hop* one round.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "rondo/comm/endpoint.h"

namespace rondo::comm {

/// Elements [begin, end).
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  constexpr int64_t count() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

/// kData: the collective's buffer (of all_gather: the output). kScratch: memory of the group, scratch_elements long.
enum class Space : uint8_t { kData, kScratch };

/// A range of some rank's memory. `rank` != own needs a transport with regions (kData of registered memory only).
struct Place {
  int rank = 0;
  Space space = Space::kData;
  Range range;
  bool operator==(const Place&) const = default;
};

enum class ActionKind : uint8_t {
  kSend,     // hands from[0] to `peer`; does not wait for it, but for a free slot. The range must stay untouched until
             // the peer's matching receive has happened
  kReceive,  // waits for the next message of `peer` and puts it to to[0]; counts must match
  kReduce,  // to[...] := from[0] op from[1] op ... , strictly from the left; every `to` gets the same bytes. A `to` may
            // be exactly from[0] or from[1] and touches no other operand, so that pairs can be folded in place
  kCopy,    // to[0] := from[0]
  kScale,   // to[0] is final: divides by the summed weight (kWeightedMean), else nothing
  kSignal,  // raises my signal at `peer` to `value` (release); values start at 1 in every collective
  kWait,    // waits until the signal of `peer` here is at least `value` (acquire)
};
/// "send" and so on.
std::string_view name(ActionKind kind);

struct Action {
  ActionKind kind = ActionKind::kSend;
  int peer = -1;
  int hop = 0;
  int segment = 0;
  uint64_t value = 0;
  std::vector<Place> from = {};
  std::vector<Place> to = {};
};

/// What the result's bits depend on. kCanonical: a balanced tree over ranks at one owner. kByChunk: equal on all ranks,
/// but the start of the sum depends on the chunk. kNone: nothing is summed.
enum class Order : uint8_t { kNone, kCanonical, kByChunk, kLinear };
std::string_view name(Order order);

/// Everything one rank does. Equal arguments give equal schedules on every machine.
struct Schedule {
  Position at;
  std::string_view algorithm;  // "ring", "direct", ...
  Order order = Order::kNone;
  int64_t element_count = 0;
  int64_t scratch_elements = 0;
  int slots = 4;                   // messages that a pair may have under way before kSend waits
  int hop_count = 0;               // for "hop 2 of 6"
  std::vector<int> sends_to = {};  // peers that exchange descriptors, even for 0 elements; ascending
  std::vector<int> receives_from = {};
  std::vector<Action> actions = {};
};

/// What is wanted, apart from the element type.
struct ScheduleRequest {
  Position at;
  int64_t element_count = 0;
  int64_t segment_elements = 64 * 1024;
};

Schedule ring_all_reduce(const ScheduleRequest& request);
/// Fused push over regions: the owner of a slice reads all ranks' slices, reduces in canonical order and stores to all.
Schedule direct_all_reduce(const ScheduleRequest& request);
/// `request.element_count` counts the output; every rank's block is element_count / n and already at its place.
Schedule ring_all_gather(const ScheduleRequest& request);
/// Pipelined chain root, root+1, ..., root-1.
Schedule chain_broadcast(const ScheduleRequest& request, int root);

}  // namespace rondo::comm
