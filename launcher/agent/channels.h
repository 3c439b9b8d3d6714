/// The agent's ends of a worker's two connections: messages (Protobuf, worker to agent) and control (64-byte frames,
/// both ways). Both read what is there and never block. Main thread only.
#pragma once

#include <functional>
#include <string>

#include "launcher/base/descriptor.h"
#include "proto/worker.pb.h"
#include "rondo/comm/control.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

/// Cuts the byte stream of RONDO_MESSAGES_FD into messages: u32 little-endian length, then that many bytes.
class MessageReader {
 public:
  static constexpr uint32_t kLargestMessageBytes = 1 << 20;
  using Take = std::function<void(const proto::WorkerMessage&)>;

  /// kCorrupt: the worker wrote something else; nothing more can be read then.
  comm::Status feed(std::string_view bytes, const Take& take);

 private:
  std::string pending_;
};

/// One message as it goes over the wire.
std::string framed(const proto::WorkerMessage& message);

/// Control frames of one worker.
class ControlLink {
 public:
  explicit ControlLink(Descriptor socket = Descriptor()) : socket_(std::move(socket)) {}

  int handle() const { return socket_.get(); }
  /// Reads what came. kClosed: the worker closed it (in order, or it is gone); kCorrupt: not our frames.
  comm::Status receive(const std::function<void(const comm::ControlFrame&)>& take);
  /// Sends unless the socket is full: a worker that reads nothing gets nothing.
  void send(comm::ControlFrame frame, comm::TimePoint now);
  void close() { socket_.reset(); }

 private:
  Descriptor socket_;
  std::string pending_;
  uint64_t sent_ = 0;
};

}  // namespace rondo::launcher
