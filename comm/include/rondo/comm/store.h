/// The meeting point of a job: a small key-value map that every rank can reach before links exist.
///
/// Keys are short texts ("group/0/address/3"), values are bytes. Limits: key 256 bytes, value 64 KiB, 65,536 keys.
/// Threading: a Store may be used from any thread; a StoreCall belongs to one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "rondo/comm/secret.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

struct StoreRequest {
  enum class Kind : uint8_t {
    kSet,            // key := value
    kGet,            // waits until every key of `keys` exists; replies with their values, in order
    kAdd,            // adds `amount` to the decimal number under key (missing = 0); replies with the new number
    kCompareAndSet,  // key := value if it holds `expected` ("" = missing); replies with what it holds afterwards
    kCheck,          // replies at once: "1" or "0" for every key of `keys`
  };
  Kind kind = Kind::kSet;
  std::vector<std::string> keys;  // one key, except for kGet and kCheck
  std::string value;
  std::string expected;
  int64_t amount = 0;
};

/// One request in flight.
class StoreCall {
 public:
  virtual ~StoreCall() = default;
  virtual Progress advance(TimePoint now) = 0;
  /// After kDone: the values, in the order of the request's keys.
  virtual const std::vector<std::string>& values() const = 0;
  virtual Status status() const = 0;
  /// For Env::idle; empty when only time helps.
  virtual std::vector<WaitHandle> wait_handles() const { return {}; }
};

class Store {
 public:
  virtual ~Store() = default;
  virtual std::unique_ptr<StoreCall> start(StoreRequest request) = 0;
};

/// Blocking forms: loops around start() and advance(). kTimeout names the keys that never came.
Status store_set(Store& store, Env& env, const std::string& key, std::string value, Deadline deadline);
Result<std::vector<std::string>> store_get(Store& store, Env& env, const std::vector<std::string>& keys,
                                           Deadline deadline);
Result<int64_t> store_add(Store& store, Env& env, const std::string& key, int64_t amount, Deadline deadline);

/// A map in this process, for fake ranks and as the server's content.
std::shared_ptr<Store> in_process_store();

/// Serves a store to every client that proves the job's secret. One thread ("rondo-store") that sleeps in poll().
/// Limits: 64 connections in handshake, 2 s for each; frames above the limits close the connection.
class StoreServer {
 public:
  virtual ~StoreServer() = default;
  virtual Address address() const = 0;
  /// That, then those of StoreServerOptions::also_listen.
  virtual std::vector<Address> addresses() const = 0;
  /// Stops the thread and closes every connection. The destructor does the same.
  virtual void close() = 0;
};
struct StoreServerOptions {
  Address listen{"tcp:127.0.0.1:0"};
  std::vector<Address> also_listen;
  JobId job;
  Secret secret;
  /// Besides the secret, the kernel must say that the client runs as this user: Unix sockets only.
  bool same_user_only = false;
  /// Called from the server's thread for each refused connection, with the reason.
  std::function<void(const Status&)> on_refused;
};
Result<std::unique_ptr<StoreServer>> serve_store(std::shared_ptr<Env> env, StoreServerOptions options);

/// Connects to a StoreServer. Dials again until `deadline` while the server is not there yet; kUnauthenticated at once
/// when it does not hold the same secret.
struct StoreClientOptions {
  Address server;
  JobId job;
  Secret secret;
  int rank = -1;
  int server_rank = -1;         // the rank that serves it, to be named in errors; -1: an agent
  bool same_user_only = false;  // as in StoreServerOptions, of the server
};
Result<std::shared_ptr<Store>> connect_store(const std::shared_ptr<Env>& env, const StoreClientOptions& options,
                                             Deadline deadline);

}  // namespace rondo::comm
