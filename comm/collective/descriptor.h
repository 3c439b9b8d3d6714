/// What a rank is about to do, said to each peer before any payload: so two ranks that disagree find out before data is
/// mixed, and both sides can be described.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "comm/watch/flight_recorder.h"
#include "rondo/comm/collective_kind.h"
#include "rondo/comm/dtype.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// Which end of a transfer this rank is. Not sent: the other is the other.
enum class End : uint8_t { kNone, kSender, kReceiver };

struct Descriptor {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int32_t root = -1;
  int64_t element_count = 0;
  uint64_t sequence = 0;
  uint64_t algorithm_hash = 0;  // two ranks must run the same schedule
  uint64_t region = 0;          // registered memory: id and offset must agree where peers store into it
  uint64_t offset = 0;
  std::string tag;  // compared whole by its hash; the first 160 bytes travel as text
  End end = End::kNone;

  /// Kind, dtype, reduction and root in one word.
  uint64_t packed_call() const;
  void set_packed_call(uint64_t packed);
  uint64_t tag_hash() const;
  /// What this rank called: "all_reduce", "send", "receive".
  std::string_view operation() const;

  /// "all_reduce of 421642 float32, weighted mean, tag \"bucket 0\", sequence 812".
  std::string describe() const;
};

inline constexpr size_t kDescriptorBytes = 256;
std::array<std::byte, kDescriptorBytes> encode(const Descriptor& descriptor);

/// Ok when `theirs` fits `mine`; kMismatch with both descriptions when it does not; kCorrupt when it is no descriptor.
Status compare(const Descriptor& mine, std::span<const std::byte, kDescriptorBytes> theirs, int my_rank,
               int their_rank);

/// kMismatch with both descriptions.
Status mismatch(const Descriptor& mine, const Descriptor& theirs, int my_rank, int their_rank);

class GroupState;
/// For errors of a collective in flight; `waits_for` is a rank of the group, or -1.
FlightCall flight_call_of(const Descriptor& descriptor, const FlightName& algorithm);
/// `at` without its peer.
FlightPosition flight_position_of(const GroupState& group, int waits_for, FlightPosition at);
Where where_of(const GroupState& group, const Descriptor& descriptor, int waits_for, std::string phase);

}  // namespace rondo::comm
