// Layouts, by offset. A hello (128 bytes):
//    0 magic (8)   8 version (2)   10 role (1)   11 channel (1)   12 generation (4)   16 group (8)
//   24 from rank (4)   28 to rank (4)   32 job (16)   48 nonce (32)   80 zeros (48)
// A frame header (64 bytes):
//    0 magic (4)   4 type (2)   6 zeros (2)   8 generation (4)   12 length (4)   16 group (8)   24 sequence (8)
//   32 segment (4)   36 hop (4)   40 ack (4)   44 payload CRC (4)   48 weight (8)   56 number (4)   60 header CRC (4)
#include "comm/transport/wire.h"

#include <algorithm>
#include <bit>
#include <string>
#include <type_traits>

#include "comm/base/little_endian.h"

namespace rondo::comm {
namespace {

constexpr uint64_t kHelloMagic = 0x0A69486F646E6F52;  // "RondoHi\n"
constexpr uint32_t kFrameMagic = 0x6D724652;          // "RFrm"
constexpr size_t kHelloUsed = 80;
constexpr size_t kFrameCrcAt = 60;

/// Writes fields one after the other.
class Writer {
 public:
  explicit Writer(std::span<std::byte> into) : at_(into.data()) {}
  template <typename T>
  void put(T value) {
    put_le(at_, static_cast<std::make_unsigned_t<T>>(value));
    at_ += sizeof(T);
  }
  void put(std::span<const std::byte> bytes) { at_ = std::copy(bytes.begin(), bytes.end(), at_); }

 private:
  std::byte* at_;
};

/// Reads fields one after the other.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> from) : at_(from.data()) {}
  template <typename T>
  T get() {
    const auto bits = get_le<std::make_unsigned_t<T>>(at_);
    at_ += sizeof(T);
    return static_cast<T>(bits);
  }
  void get(std::span<std::byte> into) {
    std::copy_n(at_, into.size(), into.begin());
    at_ += into.size();
  }

 private:
  const std::byte* at_;
};

bool known(FrameType type) {
  switch (type) {
    case FrameType::kDescriptor:
    case FrameType::kPayload:
    case FrameType::kAck:
    case FrameType::kNack:
    case FrameType::kAbort:
    case FrameType::kGoodbye:
    case FrameType::kStoreRequest:
    case FrameType::kStoreReply:
      return true;
  }
  return false;
}

bool known(Role role) { return role == Role::kData || role == Role::kControl || role == Role::kStore; }

Status corrupt(const std::string& what) { return {Code::kCorrupt, what}; }

}  // namespace

std::array<std::byte, kHelloBytes> encode(const Hello& hello) {
  std::array<std::byte, kHelloBytes> bytes{};
  Writer writer(bytes);
  writer.put(kHelloMagic);
  writer.put(hello.version);
  writer.put(static_cast<uint8_t>(hello.role));
  writer.put(hello.channel);
  writer.put(hello.generation);
  writer.put(hello.group);
  writer.put(hello.from_rank);
  writer.put(hello.to_rank);
  writer.put(std::span<const std::byte>(hello.job.bytes));
  writer.put(std::span<const std::byte>(hello.nonce));
  return bytes;
}

Result<Hello> decode_hello(std::span<const std::byte, kHelloBytes> bytes) {
  Reader reader(bytes);
  if (reader.get<uint64_t>() != kHelloMagic) {
    return corrupt("the first bytes are not Rondo's: another program is at the other end of this connection");
  }
  Hello hello;
  hello.version = reader.get<uint16_t>();
  if (hello.version != kProtocolVersion) {
    return Status(Code::kUnsupported, "the other side speaks protocol version " + std::to_string(hello.version) +
                                          ", this one version " + std::to_string(kProtocolVersion) +
                                          ": install the same Rondo for every rank");
  }
  hello.role = static_cast<Role>(reader.get<uint8_t>());
  hello.channel = reader.get<uint8_t>();
  hello.generation = reader.get<uint32_t>();
  hello.group = reader.get<uint64_t>();
  hello.from_rank = reader.get<int32_t>();
  hello.to_rank = reader.get<int32_t>();
  reader.get(hello.job.bytes);
  reader.get(hello.nonce);
  if (!known(hello.role)) {
    return corrupt("a hello with the unknown role " + std::to_string(static_cast<int>(hello.role)));
  }
  if (hello.from_rank < -1 || hello.to_rank < -1) return corrupt("a hello with a negative rank");
  const auto filling = bytes.subspan(kHelloUsed);
  if (std::any_of(filling.begin(), filling.end(), [](std::byte b) { return b != std::byte{0}; })) {
    return corrupt("a hello whose unused bytes are not zero");
  }
  return hello;
}

std::string_view name(FrameType type) {
  switch (type) {
    case FrameType::kDescriptor:
      return "descriptor";
    case FrameType::kPayload:
      return "payload";
    case FrameType::kAck:
      return "ack";
    case FrameType::kNack:
      return "nack";
    case FrameType::kAbort:
      return "abort";
    case FrameType::kGoodbye:
      return "goodbye";
    case FrameType::kStoreRequest:
      return "store request";
    case FrameType::kStoreReply:
      return "store reply";
  }
  return "unknown";
}

std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header) {
  std::array<std::byte, kFrameHeaderBytes> bytes{};
  Writer writer(bytes);
  writer.put(kFrameMagic);
  writer.put(static_cast<uint16_t>(header.type));
  writer.put(uint16_t{0});
  writer.put(header.generation);
  writer.put(header.length);
  writer.put(header.group);
  writer.put(header.sequence);
  writer.put(header.segment);
  writer.put(header.hop);
  writer.put(header.ack);
  writer.put(header.payload_crc);
  writer.put(std::bit_cast<uint64_t>(header.weight));
  writer.put(header.number);
  writer.put(crc32c(std::span<const std::byte>(bytes).first(kFrameCrcAt)));
  return bytes;
}

Result<FrameHeader> decode_frame(std::span<const std::byte, kFrameHeaderBytes> bytes) {
  Reader reader(bytes);
  if (reader.get<uint32_t>() != kFrameMagic) return corrupt("a frame does not start with Rondo's frame mark");
  if (Reader(bytes.subspan(kFrameCrcAt)).get<uint32_t>() != crc32c(bytes.first(kFrameCrcAt))) {
    return corrupt("a frame header failed its CRC32C: bytes changed on the way");
  }
  FrameHeader header;
  const auto type = reader.get<uint16_t>();
  const auto filling = reader.get<uint16_t>();
  header.type = static_cast<FrameType>(type);
  header.generation = reader.get<uint32_t>();
  header.length = reader.get<uint32_t>();
  header.group = reader.get<uint64_t>();
  header.sequence = reader.get<uint64_t>();
  header.segment = reader.get<uint32_t>();
  header.hop = reader.get<uint32_t>();
  header.ack = reader.get<uint32_t>();
  header.payload_crc = reader.get<uint32_t>();
  header.weight = std::bit_cast<double>(reader.get<uint64_t>());
  header.number = reader.get<uint32_t>();
  if (!known(header.type)) return corrupt("a frame of the unknown type " + std::to_string(type));
  if (filling != 0) return corrupt("a frame header whose unused bytes are not zero");
  if (header.length > kMaxPayloadBytes) {
    return corrupt("a frame of " + std::to_string(header.length) + " bytes; at most " +
                   std::to_string(kMaxPayloadBytes) + " are allowed");
  }
  if ((!is_counted(header.type) || header.type == FrameType::kGoodbye) && header.length != 0) {
    return corrupt("a frame of type " + std::string(name(header.type)) + " must have no payload");
  }
  return header;
}

}  // namespace rondo::comm
