/// The control connection between a worker and the agent that started it: fixed 64-byte frames over a socket pair.
/// The worker's keeper reads and writes it; the other end is the launcher's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "rondo/comm/status.h"

namespace rondo::comm {

inline constexpr size_t kControlFrameBytes = 64;

enum class ControlKind : uint16_t {
  kBeat = 1,       // worker -> agent: this rank's keeper runs
  kSuspicion = 2,  // worker -> agent: `rank` looks dead or frozen to me
  kAbort = 3,      // agent -> worker: stop waiting, `rank` asked for it
  kVerdict = 4,    // agent -> worker: `rank` failed; exit_code or signal_number say how
};

struct ControlFrame {
  ControlKind kind = ControlKind::kBeat;
  uint32_t generation = 0;
  int32_t rank = -1;          // whom it is about
  int32_t pid = 0;            // its process
  int32_t exit_code = -1;     // kVerdict: -1 = by signal
  int32_t signal_number = 0;  // kVerdict: 0 = by exit
  uint64_t sequence = 0;      // counts frames of this connection and direction
  uint64_t time_ns = 0;       // sender's CLOCK_MONOTONIC
};

/// Little-endian, padded with zeros, CRC32C in the last four bytes.
std::array<std::byte, kControlFrameBytes> encode(const ControlFrame& frame);
/// kCorrupt when magic, version, kind or checksum are wrong.
Result<ControlFrame> decode_control(std::span<const std::byte, kControlFrameBytes> bytes);

}  // namespace rondo::comm
