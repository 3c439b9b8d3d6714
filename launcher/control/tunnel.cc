#include "launcher/control/tunnel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace rondo::launcher {
namespace {

using comm::IoResult;
using comm::Progress;

constexpr size_t kPiece = 16 * 1024;       // at a time; what a TLS record holds
constexpr size_t kMostUnsent = 64 * 1024;  // of records
constexpr int kTurnsAtOnce = 16;           // so that one tunnel does not keep its thread from the others

comm::Status lost(const std::string& what) { return {comm::Code::kPeerLost, what}; }

}  // namespace

Tunnel::Tunnel(TlsSession session, std::unique_ptr<comm::Stream> wire, comm::Deadline prove_by)
    : session_(std::move(session)), wire_(std::move(wire)), prove_by_(prove_by) {}

Progress Tunnel::advance(comm::TimePoint now) {
  if (!status_.ok()) return Progress::kFailed;
  for (int turn = 0; turn < kTurnsAtOnce; ++turn) {
    bool moved = false;
    const auto take = [&moved](Step step) {
      moved = moved || step == Step::kMoved;
      return step != Step::kFailed;
    };
    if (!take(receive())) return Progress::kFailed;
    if (!proved()) {
      const Progress progress = session_.prove();
      const bool transmitted = take(transmit());  // also the alert that says why not
      if (progress == Progress::kFailed) {
        status_ = session_.status();
        return Progress::kFailed;
      }
      if (!transmitted) return Progress::kFailed;
      if (progress == Progress::kBlocked && wire_ended_) {
        fail(lost("the other side ended the connection before it proved that it holds the job's secret"));
        return Progress::kFailed;
      }
      if (progress == Progress::kBlocked && prove_by_.passed(now)) {
        fail({comm::Code::kTimeout, connected_ ? "the other side did not prove in time that it holds the job's secret"
                                               : "nobody answered in time"});
        return Progress::kFailed;
      }
    }
    if (proved() && attached()) {
      if (!take(deliver()) || !take(collect())) return Progress::kFailed;
    }
    if (!take(transmit())) return Progress::kFailed;
    if (wire_ended_ || plain_ended_) one_side_ended(now);
    const bool too_long = end_by_ && *end_by_ <= now;
    if (plain_ended_ && session_.output().empty() && (wire_ended_ || too_long)) return Progress::kDone;
    if (too_long) {
      fail({comm::Code::kTimeout, "one direction of the connection outlived the other"});
      return Progress::kFailed;
    }
    if (!moved) return Progress::kBlocked;
  }
  return Progress::kProgressed;
}

void Tunnel::one_side_ended(comm::TimePoint now) {
  if (!end_by_ && proved()) end_by_ = now + kLinger;
}

Tunnel::Step Tunnel::fail(comm::Status status) {
  status_ = std::move(status);
  return Step::kFailed;
}

Tunnel::Step Tunnel::receive() {
  if (wire_ended_ || !session_.wants_input()) return Step::kNothing;
  std::array<std::byte, kPiece> piece;
  const IoResult got = wire_->read(piece);
  switch (got.state) {
    case IoResult::State::kDone:
      connected_ = true;
      session_.feed(std::span(piece).first(got.bytes));
      return Step::kMoved;
    case IoResult::State::kWouldBlock:
      connected_ = connected_ || wire_->write({}, {}).state == IoResult::State::kDone;
      return Step::kNothing;
    case IoResult::State::kClosed:
      wire_ended_ = true;
      return Step::kMoved;
    case IoResult::State::kFailed:
      break;
  }
  if (plain_ended_) {  // it closed as soon as it had our end
    wire_ended_ = true;
    return Step::kMoved;
  }
  return fail(lost(std::string(connected_ ? "the connection broke: " : "cannot connect: ") + std::strerror(got.error)));
}

Tunnel::Step Tunnel::transmit() {
  bool moved = false;
  while (!session_.output().empty()) {
    const IoResult went = wire_->write(session_.output(), {});
    if (went.state == IoResult::State::kWouldBlock) break;
    if (went.state != IoResult::State::kDone) {
      if (plain_ended_ || plain_told_) {  // both were about to end anyway
        session_.sent(session_.output().size());
        wire_ended_ = true;
        return Step::kMoved;
      }
      return fail(
          lost(std::string(connected_ ? "the connection broke: " : "cannot connect: ") + std::strerror(went.error)));
    }
    connected_ = true;
    session_.sent(went.bytes);
    moved = true;
  }
  return moved ? Step::kMoved : Step::kNothing;
}

Tunnel::Step Tunnel::deliver() {
  if (plain_told_) return Step::kNothing;
  if (delivered_ == undelivered_.size()) {
    undelivered_.resize(kPiece);
    delivered_ = 0;
    const IoResult got = session_.read(undelivered_);
    undelivered_.resize(got.state == IoResult::State::kDone ? got.bytes : 0);
    if (got.state == IoResult::State::kFailed) return fail(session_.status());
    const bool goodbye = got.state == IoResult::State::kClosed;
    if (got.state == IoResult::State::kWouldBlock && wire_ended_ && !plain_ended_)
      return fail(lost("the other side ended the connection without a goodbye: its process or its host died"));
    if (goodbye || (got.state == IoResult::State::kWouldBlock && wire_ended_)) {
      wire_ended_ = plain_told_ = true;
      ::shutdown(plain_.get(), SHUT_WR);
      return Step::kMoved;
    }
    if (undelivered_.empty()) return Step::kNothing;
  }
  if (plain_gone_) {
    delivered_ = undelivered_.size();
    return Step::kMoved;
  }
  const ssize_t went = ::send(plain_.get(), undelivered_.data() + delivered_, undelivered_.size() - delivered_,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
  if (went >= 0) {
    delivered_ += static_cast<size_t>(went);
    return Step::kMoved;
  }
  if (errno == EINTR || errno == EAGAIN) return Step::kNothing;
  plain_gone_ = true;  // what still comes is for nobody
  if (!std::exchange(plain_ended_, true)) session_.end();
  return Step::kMoved;
}

bool Tunnel::may_collect() const {
  return proved() && attached() && !plain_ended_ && session_.output().size() < kMostUnsent;
}

Tunnel::Step Tunnel::collect() {
  if (!may_collect()) return Step::kNothing;
  std::array<std::byte, kPiece> piece;
  const ssize_t got = ::recv(plain_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return Step::kNothing;
  if (got <= 0) {  // ended, or reset with bytes unread: gRPC has closed
    plain_ended_ = true;
    session_.end();
    return Step::kMoved;
  }
  if (session_.write(std::span(piece).first(static_cast<size_t>(got))).state != IoResult::State::kDone)
    return fail(session_.status());
  return Step::kMoved;
}

Tunnel::Interest Tunnel::wire_interest() const {
  Interest interest;
  if (!wire_ended_ && session_.wants_input()) interest.events |= POLLIN;
  if (!session_.output().empty()) interest.events |= POLLOUT;
  if (interest.events != 0) interest.descriptor = wire_->handle();  // else a hang-up would wake poll() again and again
  return interest;
}

Tunnel::Interest Tunnel::plain_interest() const {
  Interest interest;
  if (may_collect()) interest.events |= POLLIN;
  if (proved() && attached() && !plain_told_ && delivered_ < undelivered_.size()) interest.events |= POLLOUT;
  if (interest.events != 0) interest.descriptor = plain_.get();
  return interest;
}

std::optional<comm::TimePoint> Tunnel::due() const {
  if (!proved()) return prove_by_.at;
  return end_by_;
}

void notice_silence(const comm::Stream& wire) {
  const int on = 1, idle_s = 4, interval_s = 2, probes = 3;
  const unsigned unanswered_ms = 10'000;
  ::setsockopt(wire.handle(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(wire.handle(), IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  ::setsockopt(wire.handle(), IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(wire.handle(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  ::setsockopt(wire.handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof unanswered_ms);
}

}  // namespace rondo::launcher
