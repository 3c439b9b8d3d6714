/// Carries bytes between a TLS connection and one end of a socket pair whose other end somebody speaks plainly, here
/// gRPC. Before the other side has proved that it holds the job's secret nothing passes, in either direction.
///
///   gRPC -- socket pair -- [plain  Tunnel  wire] -- TCP, TLS 1.3 -- [wire  Tunnel  plain] -- socket pair -- gRPC
///
/// A state machine: advance() never blocks. Each direction waits for the slower side (at most 64 KiB of records and
/// 16 KiB of bytes are held), and ends by itself; the tunnel is done when both have.
///
/// Threading: one thread at a time: the door's or the line's.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/base/descriptor.h"
#include "launcher/control/tls_session.h"
#include "rondo/comm/env.h"

namespace rondo::launcher {

class Tunnel {
 public:
  /// How long one direction may outlive the other: HTTP/2 ends both at once.
  static constexpr std::chrono::seconds kLinger{5};

  /// `wire` may still be connecting. kTimeout when the other side has not proved itself by `prove_by`.
  Tunnel(TlsSession session, std::unique_ptr<comm::Stream> wire, comm::Deadline prove_by);

  bool proved() const { return session_.proved(); }
  /// The end that is spoken plainly; once, before or after the proof. It must not block.
  void attach(Descriptor plain) { plain_ = std::move(plain); }
  bool attached() const { return plain_.open(); }

  /// Goes on as far as it can. kDone: ended in order. kFailed: see status().
  comm::Progress advance(comm::TimePoint now);
  const comm::Status& status() const { return status_; }

  /// What poll() is to wait for: a descriptor, or -1, and events; and when to call advance() all the same.
  struct Interest {
    int descriptor = -1;
    short events = 0;
  };
  Interest wire_interest() const;
  Interest plain_interest() const;
  std::optional<comm::TimePoint> due() const;

  /// "agent on node-3", once proved.
  std::string peer() const { return session_.peer(); }

 private:
  enum class Step : uint8_t { kNothing, kMoved, kFailed };
  Step receive();   // wire -> session
  Step transmit();  // session -> wire
  Step deliver();   // session -> plain
  Step collect();   // plain -> session
  Step fail(comm::Status status);
  bool may_collect() const;
  void one_side_ended(comm::TimePoint now);

  TlsSession session_;
  std::unique_ptr<comm::Stream> wire_;
  comm::Deadline prove_by_;
  Descriptor plain_;
  std::vector<std::byte> undelivered_;  // read from the session, not yet taken by plain_
  size_t delivered_ = 0;                // of these
  bool connected_ = false;
  bool wire_ended_ = false;   // the other side will send no more
  bool plain_told_ = false;   // and plain_ knows it
  bool plain_gone_ = false;   // nobody reads the other end of plain_
  bool plain_ended_ = false;  // whoever speaks plainly will send no more
  std::optional<comm::TimePoint> end_by_;
  comm::Status status_;
};

/// Makes a dead host end its connection within 10 s instead of two hours.
void notice_silence(const comm::Stream& wire);

}  // namespace rondo::launcher
