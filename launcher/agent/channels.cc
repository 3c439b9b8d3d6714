#include "launcher/agent/channels.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace rondo::launcher {

comm::Status MessageReader::feed(std::string_view bytes, const Take& take) {
  constexpr size_t kLengthBytes = 4;
  pending_.append(bytes);
  size_t at = 0;
  while (pending_.size() - at >= kLengthBytes) {
    uint32_t length = 0;
    for (size_t i = 0; i < kLengthBytes; ++i) {
      length |= static_cast<uint32_t>(static_cast<unsigned char>(pending_[at + i])) << (8 * i);
    }
    if (length > kLargestMessageBytes) {
      return {comm::Code::kCorrupt, "a message of " + std::to_string(length) + " bytes, more than the limit of " +
                                        std::to_string(kLargestMessageBytes)};
    }
    if (pending_.size() - at - kLengthBytes < length) break;
    proto::WorkerMessage message;
    if (!message.ParseFromArray(pending_.data() + at + kLengthBytes, static_cast<int>(length))) {
      return {comm::Code::kCorrupt, "a message that is no WorkerMessage"};
    }
    at += kLengthBytes + length;
    take(message);
  }
  pending_.erase(0, at);
  return {};
}

std::string framed(const proto::WorkerMessage& message) {
  const std::string body = message.SerializeAsString();
  std::string frame;
  for (int i = 0; i < 4; ++i) frame += static_cast<char>(body.size() >> (8 * i) & 0xff);
  return frame + body;
}

comm::Status ControlLink::receive(const std::function<void(const comm::ControlFrame&)>& take) {
  std::array<char, 4096> buffer;
  while (socket_.open()) {
    const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return {};
    if (count <= 0) return {comm::Code::kClosed, "the worker closed its control connection"};
    pending_.append(buffer.data(), static_cast<size_t>(count));
    while (pending_.size() >= comm::kControlFrameBytes) {
      std::array<std::byte, comm::kControlFrameBytes> bytes;
      std::memcpy(bytes.data(), pending_.data(), bytes.size());
      pending_.erase(0, bytes.size());
      const auto frame = comm::decode_control(bytes);
      RONDO_TRY(frame);
      take(*frame);
    }
  }
  return {};
}

void ControlLink::send(comm::ControlFrame frame, comm::TimePoint now) {
  if (!socket_.open()) return;
  frame.sequence = sent_++;
  frame.time_ns = static_cast<uint64_t>(std::chrono::nanoseconds(now.time_since_epoch()).count());
  const auto bytes = comm::encode(frame);
  // Smaller than any socket buffer: it goes out whole or not at all. A closed other end is seen by receive().
  [[maybe_unused]] const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace rondo::launcher
