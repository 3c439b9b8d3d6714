/// The transport over byte streams: TCP on loopback or Unix sockets, by Env; in simulated time, in-memory streams.
///
/// One TcpPort per endpoint accepts for all its groups; one TcpTransport per group. Links are made lazily, when a pair
/// first exchanges a message, and again when a connection broke: see tcp_link.h. Ranks in errors are ranks of the job.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "comm/transport/transport.h"
#include "rondo/comm/secret.h"

namespace rondo::comm {

struct TcpPortOptions {
  int rank = 0;  // of the job
  JobId job;
  Secret secret;
  uint32_t generation = 0;
  std::vector<Address> listen;  // a listener each
  LogSink log;
};

/// Accepts connections, runs their handshakes and keeps the proven ones until a group claims them. At most 64 are in
/// handshake at a time, 2 s each. Threading: internally locked; shared by the groups of one endpoint.
class TcpPort {
 public:
  static Result<std::shared_ptr<TcpPort>> open(std::shared_ptr<Env> env, TcpPortOptions options);
  virtual ~TcpPort() = default;
  /// Where it listens, in the order of its options.
  virtual std::vector<Address> addresses() const = 0;

  // --- for the transports of this endpoint.

  /// Accepts and moves the handshakes on. Refused callers go to the log.
  virtual Progress pump(TimePoint now) = 0;
  /// The proven connection of `from_rank` (of the job) for `group`, once; null while there is none.
  virtual std::unique_ptr<Stream> claim(uint64_t group, int from_rank) = 0;
  virtual std::vector<WaitHandle> wait_handles() const = 0;

  // Constant after construction.
  const TcpPortOptions& options() const { return options_; }

 protected:
  explicit TcpPort(TcpPortOptions options) : options_(std::move(options)) {}

 private:
  const TcpPortOptions options_;
};

struct TcpTransportOptions {
  std::shared_ptr<TcpPort> port;
  uint64_t group = 0;                           // group id, in every frame and hello
  std::vector<int> job_ranks;                   // group rank -> rank in the job
  int rank = 0;                                 // in the group
  std::vector<std::vector<Address>> addresses;  // of each group rank's port: all of them
  /// How long a peer that refuses connections is dialed again. One that only answers late (it is busy elsewhere) is
  /// waited for as long as the caller waits.
  Duration connect_timeout = std::chrono::seconds(10);
  /// The same for a peer that was connected before: one that lives and listens refuses nobody.
  Duration reconnect_timeout = std::chrono::milliseconds(200);
  /// Whether the process of a rank of the job is known to have died or left. Asked when its connection breaks; may be
  /// empty.
  std::function<bool(int job_rank)> is_gone = {};
};
/// Nothing is dialed before the first message.
Result<std::unique_ptr<Transport>> make_tcp_transport(std::shared_ptr<Env> env, TcpTransportOptions options);

}  // namespace rondo::comm
