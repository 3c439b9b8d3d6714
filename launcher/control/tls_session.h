/// One side of a TLS 1.3 connection between two holders of a job's secret, as a state machine over bytes: it does no
/// I/O and knows no socket. Both sides prove a certificate of the job's authority (authority.h); until then nothing of
/// what the other side sent is given out.
///
/// Threading: a TlsSession belongs to one thread at a time; a TlsContext may be shared.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "launcher/control/authority.h"
#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

struct ssl_ctx_st;
struct ssl_st;

namespace rondo::launcher {

/// A minted certificate and the rules of the connection: TLS 1.3 only, mutual, no resumption, this job's authority
/// only.
class TlsContext {
 public:
  static comm::Result<TlsContext> make(const Authority& authority, const Holder& holder, Side side);
  /// With credentials made before.
  static comm::Result<TlsContext> with(const Authority& authority, const Credentials& credentials, Side side);
  Side side() const { return side_; }
  ssl_ctx_st* get() const { return context_.get(); }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  TlsContext(std::unique_ptr<ssl_ctx_st, Free> context, Side side) : context_(std::move(context)), side_(side) {}
  std::unique_ptr<ssl_ctx_st, Free> context_;
  Side side_;
};

class TlsSession {
 public:
  /// What an unproved peer may send in all before it is refused. An honest one needs about 1 KiB.
  static constexpr size_t kMostBeforeProof = 8 * 1024;

  static comm::Result<TlsSession> make(const TlsContext& context);

  /// Takes in bytes that came from the other side. Only while wants_input(): that bounds what is held here.
  void feed(std::span<const std::byte> bytes);
  bool wants_input() const;
  /// Bytes to send, as long as there are any; then tell how many went.
  std::span<const std::byte> output() const;
  void sent(size_t bytes);

  /// kDone once both sides have proved themselves *to each other*: the one that calls hears so from the one that
  /// answers. kFailed: see status().
  comm::Progress prove();
  bool proved() const { return proved_; }

  /// Once proved. kClosed: the other side ended in order. kFailed: see status().
  comm::IoResult read(std::span<std::byte> into);
  comm::IoResult write(std::span<const std::byte> bytes);
  /// Says that nothing more will be written.
  void end();

  /// kUnauthenticated when the other side does not hold this job's secret, kCorrupt when it does not speak TLS 1.3.
  const comm::Status& status() const { return status_; }
  /// "agent on node-3", by its certificate; once proved.
  std::string peer() const;

 private:
  struct Free {
    void operator()(ssl_st* session) const;
  };
  TlsSession(std::unique_ptr<ssl_st, Free> session, Side side) : session_(std::move(session)), side_(side) {}
  comm::Progress fail(const char* during);
  comm::Progress exchange_welcome();

  std::unique_ptr<ssl_st, Free> session_;
  Side side_;
  bool handshake_done_ = false;
  bool proved_ = false;
  size_t fed_ = 0;  // before the proof
  comm::Status status_;
};

}  // namespace rondo::launcher
