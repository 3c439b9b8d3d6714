/// The world outside: clock, randomness and byte streams. Protocols reach it through Env only, so the same code runs on
/// sockets and, under test, on a virtual clock with in-memory streams.
///
/// Threading: an Env may be used from any thread. A Stream or Listener belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "rondo/comm/deadline.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// Where a listener can be reached: "tcp:127.0.0.1:4711" (IPv4 or [IPv6]) or "unix:@name" (Linux abstract socket; no
/// file). Simulated worlds use "sim:name".
struct Address {
  std::string text;
  bool operator==(const Address&) const = default;
};

/// What one read or write did. `bytes` may be less than asked for.
struct IoResult {
  enum class State : uint8_t { kDone, kWouldBlock, kClosed, kFailed };
  State state = State::kDone;
  size_t bytes = 0;
  int error = 0;  // errno of kFailed
};

/// A reliable, ordered, non-blocking byte stream.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual IoResult read(std::span<std::byte> into) = 0;
  /// Gathers: writes `head`, then `body`, as far as it goes. kWouldBlock also while a dial is still under way.
  virtual IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) = 0;
  virtual void close() = 0;
  /// A descriptor for poll(), or -1 when there is none (simulated streams).
  virtual int handle() const = 0;
  /// User id of the process at the other end where the kernel proves it (Unix sockets), else -1.
  virtual int64_t peer_uid() const { return -1; }
};

class Listener {
 public:
  virtual ~Listener() = default;
  /// The next waiting connection, or null when there is none.
  virtual std::unique_ptr<Stream> accept() = 0;
  /// Where others dial: the real port, never 0.
  virtual Address address() const = 0;
  virtual int handle() const = 0;
};

/// What an idle thread waits for: `handle` becomes readable, or also writable.
struct WaitHandle {
  int handle = -1;
  bool also_writable = false;
};

class Env {
 public:
  virtual ~Env() = default;
  virtual TimePoint now() = 0;
  virtual void random(std::span<std::byte> into) = 0;
  /// Listens. "tcp:127.0.0.1:0" lets the kernel choose the port. Never a wildcard: such an address is kInvalidArgument.
  virtual Result<std::unique_ptr<Listener>> listen(const Address& address) = 0;
  /// Starts to connect and returns at once; a refused connection shows as kFailed at the first read or write.
  virtual Result<std::unique_ptr<Stream>> dial(const Address& address) = 0;
  /// Sleeps until one of `handles` is ready or `at_most` passed; may return early.
  virtual void idle(std::span<const WaitHandle> handles, Duration at_most) = 0;
};

/// Sockets, CLOCK_MONOTONIC and getrandom().
std::shared_ptr<Env> real_env();

/// How far a protocol came when it was asked to go on. Protocols are state machines: `advance(now)` never blocks.
enum class Progress : uint8_t {
  kProgressed,  // did something; ask again
  kBlocked,     // waits for a peer or for time
  kDone,
  kFailed,  // see the protocol's status()
};

}  // namespace rondo::comm
