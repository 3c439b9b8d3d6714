#include "comm/collective/descriptor.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/group/group_state.h"

namespace rondo::comm {
namespace {

constexpr uint32_t kMagic = 0x63736472;  // "rdsc"
constexpr size_t kTagTextBytes = 160;

// Byte offsets of the fields; integers are little-endian.
constexpr size_t kMagicAt = 0, kKindAt = 4, kDTypeAt = 5, kOpAt = 6, kTagLengthAt = 7, kRootAt = 8, kCountAt = 16,
                 kSequenceAt = 24, kAlgorithmAt = 32, kRegionAt = 40, kOffsetAt = 48, kTagHashAt = 56, kTagAt = 64;
static_assert(kTagAt + kTagTextBytes <= kDescriptorBytes);

using Bytes = std::array<std::byte, kDescriptorBytes>;

void put(Bytes& bytes, size_t at, uint64_t value, size_t width) {
  for (size_t i = 0; i < width; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

uint64_t get(std::span<const std::byte, kDescriptorBytes> bytes, size_t at, size_t width) {
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i) value |= static_cast<uint64_t>(bytes[at + i]) << (8 * i);
  return value;
}

Descriptor decode(std::span<const std::byte, kDescriptorBytes> bytes) {
  Descriptor d;
  d.kind = static_cast<CollectiveKind>(get(bytes, kKindAt, 1));
  d.dtype = static_cast<DType>(get(bytes, kDTypeAt, 1));
  d.op = static_cast<ReduceOp>(get(bytes, kOpAt, 1));
  d.root = static_cast<int32_t>(get(bytes, kRootAt, 4));
  d.element_count = static_cast<int64_t>(get(bytes, kCountAt, 8));
  d.sequence = get(bytes, kSequenceAt, 8);
  d.algorithm_hash = get(bytes, kAlgorithmAt, 8);
  d.region = get(bytes, kRegionAt, 8);
  d.offset = get(bytes, kOffsetAt, 8);
  const size_t length = std::min<size_t>(get(bytes, kTagLengthAt, 1), kTagTextBytes);
  d.tag.assign(reinterpret_cast<const char*>(bytes.data() + kTagAt), length);
  return d;
}

End other(End end) {
  if (end == End::kNone) return end;
  return end == End::kSender ? End::kReceiver : End::kSender;
}

}  // namespace

std::string_view name(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return "all_reduce";
    case CollectiveKind::kBroadcast:
      return "broadcast";
    case CollectiveKind::kAllGather:
      return "all_gather";
    case CollectiveKind::kBarrier:
      return "barrier";
    case CollectiveKind::kReduceScatter:
      return "reduce_scatter";
    case CollectiveKind::kSend:
      return "send";
  }
  return "unknown collective";
}

std::string Descriptor::describe() const {
  std::string text(operation());
  if (kind != CollectiveKind::kBarrier) text += " of " + std::to_string(element_count) + " " + std::string(name(dtype));
  if (kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kReduceScatter)
    text += ", " + std::string(name(op));
  if (kind == CollectiveKind::kBroadcast) text += ", root " + std::to_string(root);
  if (!tag.empty()) text += ", tag \"" + tag + "\"";
  return text + ", sequence " + std::to_string(sequence);
}

std::string_view Descriptor::operation() const { return end == End::kReceiver ? "receive" : name(kind); }

uint64_t Descriptor::packed_call() const {
  return static_cast<uint64_t>(kind) | static_cast<uint64_t>(dtype) << 8 | static_cast<uint64_t>(op) << 16 |
         static_cast<uint64_t>(static_cast<uint32_t>(root)) << 32;
}

void Descriptor::set_packed_call(uint64_t packed) {
  kind = static_cast<CollectiveKind>(packed & 0xff);
  dtype = static_cast<DType>(packed >> 8 & 0xff);
  op = static_cast<ReduceOp>(packed >> 16 & 0xff);
  root = static_cast<int32_t>(packed >> 32);
}

uint64_t Descriptor::tag_hash() const { return XXH3_64bits(tag.data(), tag.size()); }

Bytes encode(const Descriptor& d) {
  Bytes bytes{};
  put(bytes, kMagicAt, kMagic, 4);
  put(bytes, kKindAt, static_cast<uint8_t>(d.kind), 1);
  put(bytes, kDTypeAt, static_cast<uint8_t>(d.dtype), 1);
  put(bytes, kOpAt, static_cast<uint8_t>(d.op), 1);
  const size_t length = std::min(d.tag.size(), kTagTextBytes);
  put(bytes, kTagLengthAt, length, 1);
  put(bytes, kRootAt, static_cast<uint32_t>(d.root), 4);
  put(bytes, kCountAt, static_cast<uint64_t>(d.element_count), 8);
  put(bytes, kSequenceAt, d.sequence, 8);
  put(bytes, kAlgorithmAt, d.algorithm_hash, 8);
  put(bytes, kRegionAt, d.region, 8);
  put(bytes, kOffsetAt, d.offset, 8);
  put(bytes, kTagHashAt, d.tag_hash(), 8);
  if (length > 0) std::memcpy(bytes.data() + kTagAt, d.tag.data(), length);
  return bytes;
}

Status compare(const Descriptor& mine, std::span<const std::byte, kDescriptorBytes> theirs, int my_rank,
               int their_rank) {
  if (get(theirs, kMagicAt, 4) != kMagic) {
    return Status(Code::kCorrupt, "rank " + std::to_string(their_rank) + " sent no descriptor where one belongs",
                  {.rank = my_rank, .peer = their_rank});
  }
  const Bytes own = encode(mine);
  if (std::equal(own.begin(), own.end(), theirs.begin())) return {};
  return mismatch(mine, decode(theirs), my_rank, their_rank);
}

Status mismatch(const Descriptor& mine, const Descriptor& theirs, int my_rank, int their_rank) {
  Descriptor said = theirs;
  said.end = mine.end;
  std::string hint = mine.end == End::kNone ? "; every rank must make the same calls on a group, in the same order"
                                            : "; what a rank sends to another is received in the order of the calls";
  if (mine.describe() == said.describe()) {
    hint = mine.algorithm_hash != theirs.algorithm_hash ? "; the algorithm or segment size of the group differs"
                                                        : "; the registered memory or the rest of a long tag differs";
  }
  said.end = other(mine.end);
  return Status(Code::kMismatch,
                "ranks disagree: rank " + std::to_string(my_rank) + " calls " + mine.describe() + "; rank " +
                    std::to_string(their_rank) + " calls " + said.describe() + hint,
                {.rank = my_rank, .peer = their_rank});
}

FlightCall flight_call_of(const Descriptor& descriptor, const FlightName& algorithm) {
  return {.kind = descriptor.kind,
          .dtype = descriptor.dtype,
          .op = descriptor.op,
          .root = descriptor.root,
          .element_count = descriptor.element_count,
          .algorithm = algorithm,
          .tag = descriptor.tag};
}

FlightPosition flight_position_of(const GroupState& group, int waits_for, FlightPosition at) {
  at.peer = waits_for < 0 ? -1 : group.job_rank(waits_for);
  return at;
}

Where where_of(const GroupState& group, const Descriptor& descriptor, int waits_for, std::string phase) {
  return {.rank = group.job_rank(group.at().rank),
          .peer = waits_for < 0 ? -1 : group.job_rank(waits_for),
          .operation = std::string(descriptor.operation()),
          .tag = descriptor.tag,
          .sequence = static_cast<int64_t>(descriptor.sequence),
          .phase = std::move(phase)};
}

}  // namespace rondo::comm
