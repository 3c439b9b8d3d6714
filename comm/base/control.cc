#include "rondo/comm/control.h"

#include <algorithm>

#include "comm/base/crc32c.h"
#include "comm/base/little_endian.h"

namespace rondo::comm {
namespace {

constexpr uint32_t kMagic = 0x43444E52;  // "RNDC"
constexpr uint16_t kVersion = 1;

// Byte offsets. The bytes from kPaddingAt to kCrcAt are zero.
constexpr size_t kMagicAt = 0, kVersionAt = 4, kKindAt = 6, kGenerationAt = 8, kRankAt = 12, kPidAt = 16, kExitAt = 20,
                 kSignalAt = 24, kSequenceAt = 28, kTimeAt = 36, kPaddingAt = 44, kCrcAt = kControlFrameBytes - 4;

int32_t get_signed(const std::byte* at) { return static_cast<int32_t>(get_le<uint32_t>(at)); }

}  // namespace

std::array<std::byte, kControlFrameBytes> encode(const ControlFrame& frame) {
  std::array<std::byte, kControlFrameBytes> bytes{};
  std::byte* at = bytes.data();
  put_le(at + kMagicAt, kMagic);
  put_le(at + kVersionAt, kVersion);
  put_le(at + kKindAt, static_cast<uint16_t>(frame.kind));
  put_le(at + kGenerationAt, frame.generation);
  put_le(at + kRankAt, static_cast<uint32_t>(frame.rank));
  put_le(at + kPidAt, static_cast<uint32_t>(frame.pid));
  put_le(at + kExitAt, static_cast<uint32_t>(frame.exit_code));
  put_le(at + kSignalAt, static_cast<uint32_t>(frame.signal_number));
  put_le(at + kSequenceAt, frame.sequence);
  put_le(at + kTimeAt, frame.time_ns);
  put_le(at + kCrcAt, crc32c(std::span(bytes).first(kCrcAt)));
  return bytes;
}

Result<ControlFrame> decode_control(std::span<const std::byte, kControlFrameBytes> bytes) {
  const std::byte* at = bytes.data();
  const auto corrupt = [](const std::string& what) {
    return Status(Code::kCorrupt,
                  "control frame: " + what +
                      "; the two ends are different builds of Rondo, or something "
                      "else writes to the control descriptor",
                  {.operation = "control connection"});
  };
  if (get_le<uint32_t>(at + kMagicAt) != kMagic) return corrupt("it does not start with RNDC");
  if (get_le<uint32_t>(at + kCrcAt) != crc32c(bytes.first(kCrcAt))) return corrupt("its checksum is wrong");
  if (const auto version = get_le<uint16_t>(at + kVersionAt); version != kVersion)
    return corrupt("version " + std::to_string(version) + ", expected " + std::to_string(kVersion));
  const auto kind = get_le<uint16_t>(at + kKindAt);
  if (kind < static_cast<uint16_t>(ControlKind::kBeat) || kind > static_cast<uint16_t>(ControlKind::kVerdict))
    return corrupt("unknown kind " + std::to_string(kind));
  if (std::any_of(at + kPaddingAt, at + kCrcAt, [](std::byte b) { return b != std::byte{0}; }))
    return corrupt("its padding is not zero");
  ControlFrame frame;
  frame.kind = static_cast<ControlKind>(kind);
  frame.generation = get_le<uint32_t>(at + kGenerationAt);
  frame.rank = get_signed(at + kRankAt);
  frame.pid = get_signed(at + kPidAt);
  frame.exit_code = get_signed(at + kExitAt);
  frame.signal_number = get_signed(at + kSignalAt);
  frame.sequence = get_le<uint64_t>(at + kSequenceAt);
  frame.time_ns = get_le<uint64_t>(at + kTimeAt);
  return frame;
}

}  // namespace rondo::comm
