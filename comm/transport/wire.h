/// The bytes on the wire of data links and store connections. Final from version 1 on; all integers little-endian.
///
/// A connection: both sides send a Hello (fixed size), then prove the job's secret with HMAC-SHA256 over both hellos
/// (see handshake.h). Before that nothing but the hello is parsed. Then frames: a 64-byte FrameHeader, then `length`
/// payload bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "comm/base/crc32c.h"
#include "rondo/comm/secret.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

inline constexpr uint16_t kProtocolVersion = 1;

/// What a connection is for.
enum class Role : uint8_t { kData = 1, kControl = 2, kStore = 3 };

struct Hello {
  uint16_t version = kProtocolVersion;
  Role role = Role::kData;
  uint8_t channel = 0;
  uint32_t generation = 0;
  uint64_t group = 0;      // 0 for stores
  int32_t from_rank = -1;  // rank in the job
  int32_t to_rank = -1;    // -1: whoever serves (stores)
  JobId job;
  std::array<std::byte, 32> nonce{};
};
inline constexpr size_t kHelloBytes = 128;
std::array<std::byte, kHelloBytes> encode(const Hello& hello);
/// kCorrupt for a wrong magic, role or filling; kUnsupported for another protocol version (both named).
Result<Hello> decode_hello(std::span<const std::byte, kHelloBytes> bytes);

enum class FrameType : uint16_t {
  kDescriptor = 1,
  kPayload = 2,
  kAck = 3,      // nothing but the cumulative ack
  kNack = 4,     // a payload's checksum was wrong: send again from the frame after the ack
  kAbort = 5,    // payload: reason
  kGoodbye = 6,  // leaves in order
  kStoreRequest = 16,
  kStoreReply = 17,
};

struct FrameHeader {
  FrameType type = FrameType::kPayload;
  uint32_t generation = 0;
  uint64_t group = 0;
  uint64_t sequence = 0;  // of the collective; of stores: of the request
  uint32_t segment = 0;
  uint32_t hop = 0;
  uint32_t length = 0;  // payload bytes that follow; at most kMaxPayloadBytes
  uint32_t ack = 0;     // cumulative: counted frames of the other direction that arrived whole, modulo 2^32
  double weight = 0;    // summed weight of the operands in the payload
  uint32_t payload_crc = 0;
  uint32_t number = 0;  // of this frame among the counted ones of its direction, from 1, modulo 2^32; 0: not counted
};
/// Acks and nacks are not counted: they are sent as they come up and never again.
constexpr bool is_counted(FrameType type) { return type != FrameType::kAck && type != FrameType::kNack; }
/// "payload" and so on, for messages.
std::string_view name(FrameType type);
inline constexpr size_t kFrameHeaderBytes = 64;
inline constexpr uint32_t kMaxPayloadBytes = 64u << 20;
/// Fills in the header's own CRC32C.
std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header);
/// kCorrupt for a wrong magic, type, length or header CRC32C.
Result<FrameHeader> decode_frame(std::span<const std::byte, kFrameHeaderBytes> bytes);

}  // namespace rondo::comm
