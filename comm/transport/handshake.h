/// Proves to both ends of a fresh connection that the other holds the job's secret, and is the peer it was meant to be.
///
///   dialer                               acceptor
///   hello (128 bytes)      ->            checks it
///   checks it              <-            hello, also when the dialer's does not fit, so that both can say why
///   proof (32 bytes)       ->            checks it
///   checks it, done        <-            proof, done
///
/// A proof is HMAC-SHA256(secret, label of the side | dialer's hello | acceptor's hello). Both hellos carry fresh
/// nonces, so nothing can be replayed; the labels differ, so nothing can be reflected. Before the proof nothing but the
/// fixed-size hello is parsed. Not encrypted: payload is as private as the network it crosses.
///
/// Threading: one thread at a time. Never blocks; see Progress.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "comm/transport/wire.h"
#include "rondo/comm/env.h"
#include "rondo/comm/secret.h"

namespace rondo::comm {

inline constexpr Duration kHandshakeLimit = std::chrono::seconds(2);

struct HandshakeOptions {
  enum class Side : uint8_t { kDialer, kAcceptor } side = Side::kDialer;
  /// What this side says; the nonce is drawn here. An acceptor answers with the dialer's group, channel and rank.
  Hello mine;
  Secret secret;
  Address peer_address;  // for messages; may be empty (acceptors do not know it)
  /// From the first advance(). A dialer that must wait for a busy peer may give more.
  Duration limit = kHandshakeLimit;
  /// Acceptor: what else must hold of the dialer's hello; its Status refuses. May be empty.
  std::function<Status(const Hello&)> accept;
};

class Handshake {
 public:
  Handshake(Env& env, std::unique_ptr<Stream> stream, HandshakeOptions options);

  /// kFailed with status() and the stream closed:
  ///   kPeerLost         nobody listens, or the connection broke before the other side answered: dial again
  ///   kTimeout          the limit passed, or the other side gave up waiting: dial again
  ///   kCorrupt          no Rondo at the other end
  ///   kUnsupported      another protocol version
  ///   kEvicted          this side dialed, and the other is of a later generation
  ///   kMismatch         another job, generation, group, role or rank
  ///   kUnauthenticated  this side has no secret, or the other side did not prove that it holds the same one
  Progress advance(TimePoint now);
  const Status& status() const { return status_; }

  /// The other side's hello; proven after kDone.
  const Hello& peer() const { return peer_; }
  /// The proven connection, after kDone.
  std::unique_ptr<Stream> take_stream() { return std::move(stream_); }
  WaitHandle wait_handle() const;

 private:
  enum class Step : uint8_t { kSendHello, kReadHello, kSendProof, kReadProof };

  Step step() const;
  bool dialing() const { return options_.side == HandshakeOptions::Side::kDialer; }
  std::span<std::byte> bytes_of_step();
  Progress move_bytes(TimePoint now);
  Progress finish_step();
  Status judge(const Hello& peer) const;
  Digest proof_of(HandshakeOptions::Side side) const;
  Progress broken(const IoResult& result, TimePoint now);
  Progress fail(const Status& status);
  std::string other() const;

  HandshakeOptions options_;
  std::unique_ptr<Stream> stream_;
  std::array<std::byte, kHelloBytes> my_hello_{};
  std::array<std::byte, kHelloBytes> peer_hello_{};
  Digest my_proof_{};
  Digest peer_proof_{};
  Hello peer_;
  int steps_done_ = 0;
  size_t bytes_done_ = 0;  // of the current step
  Status verdict_;         // of an acceptor that still owes its hello
  Status status_;
  bool started_ = false;
  TimePoint start_{};
};

}  // namespace rondo::comm
