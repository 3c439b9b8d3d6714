/// An algorithm as data: what one rank does, in order, to the elements of a collective. Made by pure functions (see
/// algorithms.h), proven by the checker (schedule_check.h), carried out by any executor: real transports, fake ranks,
/// a simulated clock.
///
/// Words: a *chunk* is one rank's 1/n of the elements, a *segment* a pipelined part of it, a *hop* one round.
/// Threading: plain values; any thread.
///
/// Note [Canonical order]
/// T(lo, hi) = T(lo, lo + p) op T(lo + p, hi), p the largest power of two below hi - lo; T(i, i + 1) is operand i.
/// A kReduce combines its list of operands like this, by their places in the list; a result is in *canonical order* if
/// the operands were the ranks 0..n-1. An operand of weight 0 is left out: the other side of its sum stands alone.
///
/// Note [The wire type]
/// With Wire::kNarrow every operand, the owner's own included, is rounded to the wire type; the sum is made of these in
/// the data's accumulator type, divided, and rounded once to the wire type; every rank, the owner included, widens the
/// same wire bytes. kCopy rounds or widens between kWire and the other spaces; kReduce widens what it reads in kWire
/// and rounds the sum that it stores there.
///
/// Note [When a sent range is free again]
/// A kSend reads its range later than it happens. The range is free for stores once anything that the peer does after
/// the matching kReceive is known here (a message, a signal), or once `slots` later messages were sent to the same
/// peer: the last of them had to wait until this one was done.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "rondo/comm/position.h"

namespace rondo::comm {

/// Elements [begin, end).
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  constexpr int64_t count() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

/// Chunk `index` of `parts`: the first element_count % parts chunks are one element longer. Empty when there are fewer
/// elements than chunks before it.
constexpr Range chunk_of(int64_t element_count, int parts, int index) {
  const int64_t length = element_count / parts;
  const int64_t longer = element_count % parts;
  const int64_t begin = index * length + std::min<int64_t>(index, longer);
  return {.begin = begin, .end = begin + length + (index < longer ? 1 : 0)};
}

enum class Space : uint8_t {
  kData,     // the collective's buffer (of all_gather: the output)
  kScratch,  // memory of the group, scratch_elements long
  kWire,     // memory of the group, wire_elements long, whose elements have the wire type
  kResult,   // where this rank's result goes if it does not belong into kData, which is then never written
};
/// "data" and so on.
std::string_view name(Space space);

/// A range of some rank's memory. `rank` != own needs a transport with regions (kData of registered memory only).
struct Place {
  int rank = 0;
  Space space = Space::kData;
  Range range;
  bool operator==(const Place&) const = default;
};

enum class ActionKind : uint8_t {
  kSend,     // hands from[0] to `peer`; does not wait for it, but for a free slot
  kReceive,  // waits for the next message of `peer` and puts it to to[0]; counts and element types must match
  kReduce,  // to[...] := from[0] op from[1] op ... as the canonical tree over the list; every `to` gets the same bytes.
            // A `to` may be exactly one of the operands: all operands of an element are read before it is stored.
            // Operands and targets lie in kWire all together, or none of them does
  kCopy,    // to[0] := from[0], rounded or widened between kWire and other spaces
  kScale,   // to[0] is complete without a reduce (one rank): divides by its weight (kWeightedMean), else nothing
  kSignal,  // raises my signal at `peer` to `value` (release); values start at 1 in every collective
  kWait,    // waits until the signal of `peer` here is at least `value` (acquire)
};
/// "send" and so on.
std::string_view name(ActionKind kind);

/// Of a kReduce. kFinal: the result is complete, and the mean is divided in the same pass. Every element of a result
/// becomes final exactly once: by a kReduce that says so, or by a kScale.
enum class Finality : uint8_t { kPartial, kFinal };

struct Action {
  ActionKind kind = ActionKind::kSend;
  Finality finality = Finality::kPartial;
  int peer = -1;
  int hop = 0;
  int segment = 0;
  uint64_t value = 0;
  std::vector<Place> from = {};
  std::vector<Place> to = {};
  bool operator==(const Action&) const = default;
};

/// What the result's bits depend on, apart from the operands. All but kByChunk treat every element alike, so that the
/// layout of a buffer does not matter. Every order gives equal bits on all ranks.
enum class Order : uint8_t {
  kNone,       // nothing is summed
  kCanonical,  // Note [Canonical order] over the ranks
  kByChunk,    // from the left, starting at a rank that depends on the element's chunk
  kLinear,     // from the left: 0, 1, ..., n-1
  kFolded,     // the canonical tree over 2^k groups, of which the first n - 2^k are pairs of neighbours
  kByHost,     // the canonical tree over hosts, of canonical trees over the ranks of each host
};
/// "canonical" and so on.
std::string_view name(Order order);

/// kNarrow: elements travel in a 16-bit type, see Note [The wire type].
enum class Wire : uint8_t { kSame, kNarrow };
std::string_view name(Wire wire);

/// What the ranks want to hold at the end.
enum class Goal : uint8_t {
  kAllReduce,      // kData of every rank: the reduction of all ranks' data
  kReduceScatter,  // kResult of rank r: chunk r of that reduction; kData stays as it is
  kAllGather,      // kData of every rank: the chunks that each rank had in place, at their places
  kBroadcast,      // kData of every rank: the data of the root
};
/// "all_reduce" and so on.
std::string_view name(Goal goal);

/// Everything one rank does. Equal arguments give equal schedules on every machine.
struct Schedule {
  Position at;
  Goal goal = Goal::kAllReduce;
  std::string_view algorithm;  // "ring", "direct", ...
  Order order = Order::kNone;
  Wire wire = Wire::kSame;
  int64_t element_count = 0;  // of kData
  int64_t scratch_elements = 0;
  int64_t wire_elements = 0;
  int64_t result_elements = 0;
  int slots = 4;      // messages that a pair may have under way before kSend waits
  int hop_count = 0;  // for "hop 2 of 6"
  // Peers that exchange descriptors, even for 0 elements; ascending. The ring's neighbours are always among them.
  std::vector<int> sends_to = {};
  std::vector<int> receives_from = {};
  std::vector<Action> actions = {};
};

}  // namespace rondo::comm
