/// What travels in kStoreRequest and kStoreReply frames; the frame's sequence number ties a reply to its request.
///
///   request: kind (1), zeros (3), key count (4), amount (8), value bytes (4), expected bytes (4),
///            then each key as length (2) and bytes, then value, then expected
///   reply:   code (1), zeros (3), value count (4), then each value as length (4) and bytes; an error has one value,
///            its message
/// Integers are little-endian. Nothing is allocated before its length was checked against the limits of content.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/store/content.h"
#include "rondo/comm/status.h"
#include "rondo/comm/store.h"

namespace rondo::comm {

/// Payload of one frame in either direction; above it the connection is closed.
inline constexpr uint32_t kMaxStoreFrameBytes = 4u << 20;

struct StoreMessage {
  StoreRequest request;
  bool forget = false;  // the client no longer waits for the reply to this sequence number
};
std::vector<std::byte> encode(const StoreMessage& message);
/// kCorrupt unless the bytes are exactly one message within the limits.
Result<StoreMessage> decode_store_message(std::span<const std::byte> bytes);

struct StoreReply {
  Status status;
  std::vector<std::string> values;
};
/// A reply that fits no frame becomes a kResource error.
std::vector<std::byte> encode(const StoreReply& reply);
Result<StoreReply> decode_store_reply(std::span<const std::byte> bytes);

}  // namespace rondo::comm
