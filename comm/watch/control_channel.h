/// The worker's end of the control connection: 64-byte frames over a socket, never blocking.
///
/// Threading: one thread, the keeper's.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "rondo/comm/control.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

class ControlChannel {
 public:
  /// Takes the descriptor over; -1 = there is no agent.
  explicit ControlChannel(int descriptor) : descriptor_(descriptor) {}
  ~ControlChannel();
  ControlChannel(const ControlChannel&) = delete;
  ControlChannel& operator=(const ControlChannel&) = delete;

  bool open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  /// Sends as far as the socket takes it; a beat is dropped while an older frame is stuck.
  void send(ControlFrame frame);
  /// Frames that have arrived. Errors close the channel: kClosed when the agent is gone, kCorrupt, kIo.
  Result<std::optional<ControlFrame>> receive();

 private:
  void flush();
  void close();

  int descriptor_;
  uint64_t sent_ = 0;
  std::vector<std::byte> outgoing_;  // of frames that the socket did not take whole
  std::array<std::byte, kControlFrameBytes> incoming_{};
  size_t incoming_bytes_ = 0;
};

}  // namespace rondo::comm
