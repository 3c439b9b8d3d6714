/// The collectives, and what two ranks do with each other, by number: in descriptors on the wire and in flight records,
/// so numbers are never given away again.
#pragma once

#include <cstdint>
#include <string_view>

namespace rondo::comm {

enum class CollectiveKind : uint8_t {
  kAllReduce = 1,
  kBroadcast = 2,
  kAllGather = 3,
  kBarrier = 4,
  kReduceScatter = 5,
  kSend = 6,  // at both ends: send() of one rank and receive() of the other are one transfer
};
/// "all_reduce" and so on; "unknown collective" for a number of a newer build.
std::string_view name(CollectiveKind kind);

}  // namespace rondo::comm
