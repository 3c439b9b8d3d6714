#include "comm/watch/control_channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

namespace rondo::comm {
namespace {

constexpr size_t kMostStuckBytes = 16 * kControlFrameBytes;

}  // namespace

ControlChannel::~ControlChannel() { close(); }

void ControlChannel::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

void ControlChannel::send(ControlFrame frame) {
  if (!open()) return;
  flush();
  if (!outgoing_.empty() && (frame.kind == ControlKind::kBeat || outgoing_.size() >= kMostStuckBytes)) return;
  frame.sequence = ++sent_;
  const auto bytes = encode(frame);
  outgoing_.insert(outgoing_.end(), bytes.begin(), bytes.end());
  flush();
}

void ControlChannel::flush() {
  while (!outgoing_.empty()) {
    const ssize_t sent = ::send(descriptor_, outgoing_.data(), outgoing_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // stuck, or gone: receive() finds out which
    outgoing_.erase(outgoing_.begin(), outgoing_.begin() + sent);
  }
}

Result<std::optional<ControlFrame>> ControlChannel::receive() {
  while (open()) {
    const ssize_t got =
        ::recv(descriptor_, incoming_.data() + incoming_bytes_, incoming_.size() - incoming_bytes_, MSG_DONTWAIT);
    const int error = got < 0 ? errno : 0;
    if (error == EINTR) continue;
    if (error == EAGAIN || error == EWOULDBLOCK) break;
    if (got == 0 || error == ECONNRESET) {
      close();
      return Status(Code::kClosed, "the agent of this host is gone; it ended or was killed");
    }
    if (got < 0) {
      close();
      return Status(Code::kIo, std::string("cannot read the control connection: ") + std::strerror(error));
    }
    incoming_bytes_ += static_cast<size_t>(got);
    if (incoming_bytes_ < incoming_.size()) continue;
    incoming_bytes_ = 0;
    const auto frame = decode_control(incoming_);
    if (!frame.ok()) close();
    RONDO_TRY(frame);
    return std::optional(*frame);
  }
  return std::optional<ControlFrame>();
}

}  // namespace rondo::comm
