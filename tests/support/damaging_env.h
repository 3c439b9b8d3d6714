/// Real sockets of which the tcp connections damage some of the frames that are written to them, below the checksums.
///
/// Threading: as Env; which frames are damaged is asked of `damage` by any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "comm/transport/wire.h"
#include "rondo/comm/env.h"

namespace rondo::test {

/// A part of a frame that begins to be written.
enum class FramePart : uint8_t { kHeader, kPayload };
/// kFlip: its last byte changes. kCut: the connection ends before it.
enum class Damage : uint8_t { kNone, kFlip, kCut };
using DamageChoice = std::function<Damage(FramePart part)>;

class DamagingStream final : public comm::Stream {
 public:
  DamagingStream(std::unique_ptr<comm::Stream> inner, DamageChoice damage)
      : inner_(std::move(inner)), damage_(std::move(damage)) {}

  comm::IoResult read(std::span<std::byte> into) override { return inner_->read(into); }

  /// Writes at most to the end of the part that has begun.
  comm::IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) override {
    std::vector<std::byte> bytes(head.begin(), head.end());
    bytes.insert(bytes.end(), body.begin(), body.end());
    bytes.resize(std::min(bytes.size(), left_));
    if (chosen_ == Damage::kCut) {
      inner_->close();
      return {comm::IoResult::State::kFailed, 0, ECONNRESET};
    }
    auto sent = bytes;
    if (chosen_ == Damage::kFlip && bytes.size() == left_) sent.back() ^= std::byte{4};
    const comm::IoResult result = inner_->write(sent, {});
    if (result.state == comm::IoResult::State::kDone) count(std::span(bytes).first(result.bytes));
    return result;
  }

  void close() override { inner_->close(); }
  int handle() const override { return inner_->handle(); }
  int64_t peer_uid() const override { return inner_->peer_uid(); }

 private:
  void count(std::span<const std::byte> written) {
    if (in_header_) std::copy(written.begin(), written.end(), header_.end() - static_cast<std::ptrdiff_t>(left_));
    left_ -= written.size();
    if (left_ > 0) return;
    uint32_t payload_bytes = 0;
    if (in_header_) std::memcpy(&payload_bytes, header_.data() + kLengthAt, sizeof payload_bytes);
    in_header_ = payload_bytes == 0;
    left_ = in_header_ ? comm::kFrameHeaderBytes : payload_bytes;
    chosen_ = damage_(in_header_ ? FramePart::kHeader : FramePart::kPayload);
  }

  static constexpr size_t kLengthAt = 12;
  static constexpr size_t kHandshakeBytes = comm::kHelloBytes + std::tuple_size_v<comm::Digest>;  // of one side

  const std::unique_ptr<comm::Stream> inner_;
  const DamageChoice damage_;
  size_t left_ = kHandshakeBytes;  // of the part that has begun
  bool in_header_ = false;
  Damage chosen_ = Damage::kNone;
  std::array<std::byte, comm::kFrameHeaderBytes> header_{};
};

class DamagingListener final : public comm::Listener {
 public:
  DamagingListener(std::unique_ptr<comm::Listener> inner, DamageChoice damage)
      : inner_(std::move(inner)), damage_(std::move(damage)) {}
  std::unique_ptr<comm::Stream> accept() override {
    auto stream = inner_->accept();
    return stream ? std::make_unique<DamagingStream>(std::move(stream), damage_) : nullptr;
  }
  comm::Address address() const override { return inner_->address(); }
  int handle() const override { return inner_->handle(); }

 private:
  const std::unique_ptr<comm::Listener> inner_;
  const DamageChoice damage_;
};

class DamagingEnv final : public comm::Env {
 public:
  explicit DamagingEnv(DamageChoice damage) : damage_(std::move(damage)) {}

  comm::TimePoint now() override { return inner_->now(); }
  void random(std::span<std::byte> into) override { inner_->random(into); }
  comm::Result<std::unique_ptr<comm::Listener>> listen(const comm::Address& address) override {
    auto listener = inner_->listen(address);
    if (!listener.ok() || !carries_frames(address)) return listener;
    return std::unique_ptr<comm::Listener>(std::make_unique<DamagingListener>(*std::move(listener), damage_));
  }
  comm::Result<std::unique_ptr<comm::Stream>> dial(const comm::Address& address) override {
    auto stream = inner_->dial(address);
    if (!stream.ok() || !carries_frames(address)) return stream;
    return std::unique_ptr<comm::Stream>(std::make_unique<DamagingStream>(*std::move(stream), damage_));
  }
  void idle(std::span<const comm::WaitHandle> handles, comm::Duration at_most) override {
    inner_->idle(handles, at_most);
  }

 private:
  static bool carries_frames(const comm::Address& address) { return address.text.rfind("tcp:", 0) == 0; }

  const std::shared_ptr<comm::Env> inner_ = comm::real_env();
  const DamageChoice damage_;
};

}  // namespace rondo::test
