/// One rank's presence in a job: its place, its env and store, its listener, its keeper, and all groups made from it.
///
/// Lifetime: groups share their endpoint. close() ends it in order: says goodbye to the peers and stops the keeper; the
/// destructor does what it can of that within one beat (20 ms). Threading: any thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "rondo/comm/log.h"
#include "rondo/comm/position.h"
#include "rondo/comm/secret.h"
#include "rondo/comm/status.h"
#include "rondo/comm/store.h"

namespace rondo::comm {

/// kInproc: fake ranks, messages between threads. kTcp: streams (TCP on loopback, or Unix sockets). kShm: memory shared
/// by the ranks of one host. kMpi: messages of the MPI whose launcher started the ranks.
enum class TransportKind : uint8_t { kInproc, kTcp, kShm, kMpi };
std::string_view name(TransportKind kind);

/// What fake ranks of one process share instead of a network: message queues, mapped regions, signals, the job page.
class InprocFabric;
Result<std::shared_ptr<InprocFabric>> make_inproc_fabric(int world_size);

/// Writes down what this rank calls: rondo/comm/flight.h.
class FlightRecorder;

/// The MPI library of this process, loaded at run time.
class Mpi;

struct EndpointOptions {
  Position at;
  int local_rank = 0;
  JobId job;
  Secret secret;
  uint32_t generation = 0;
  std::shared_ptr<Env> env;      // required
  std::shared_ptr<Store> store;  // required
  TransportKind transport = TransportKind::kTcp;
  std::shared_ptr<InprocFabric> fabric;  // kInproc; kShm of threads that share one mapping, for thread sanitizers
  /// Required by kMpi. With kShm: messages between hosts go by it instead of by tcp.
  std::shared_ptr<Mpi> mpi;  // shared with the groups' transports
  /// Where this rank accepts data links, a listener each; peers are told all and take one that they reach. Not used
  /// with a fabric.
  std::vector<Address> listen{{"tcp:127.0.0.1:0"}};
  /// Ranks with equal texts (no spaces) are on one host: they must share memory there, or no group forms. Empty on
  /// every rank: all of them are on one host.
  std::string host;
  enum class Keeper : uint8_t { kOn, kOff } keeper = Keeper::kOn;  // kOff: simulated time
  /// Whether the first group of the job times links and stores before it is handed out; the tuner goes by that, and
  /// bits never do. kAuto: where every rank can have a processor and ranks are no fake ones. Rank 0's word counts for
  /// all.
  enum class Probe : uint8_t { kAuto, kOff, kAlways } probe = Probe::kAuto;
  /// Whether a thread moves payload while no caller does. kAuto: for groups with ranks on several hosts; memory of one
  /// host is faster than any thread wakes.
  enum class DataThread : uint8_t { kAuto, kOff, kAlways } data_thread = DataThread::kAuto;
  int control_descriptor = -1;             // the agent's control connection; taken over
  LogSink log;                             // may be empty
  std::shared_ptr<FlightRecorder> flight;  // may be empty; shared with the keeper
};

class EndpointState;

class Endpoint {
 public:
  /// Checks the options; opens the listener. Blocks for no peer.
  static Result<Endpoint> create(EndpointOptions options);

  Position at() const;
  Env& env() const;
  /// Leaves in order. Groups made from this endpoint must have no work in flight.
  Status close(Deadline deadline);
  /// Ends every wait of every rank of the job with kAborted, this rank named, now and for good. Idempotent; any thread.
  void abort(const std::string& reason);

  const std::shared_ptr<EndpointState>& state() const { return state_; }

 private:
  explicit Endpoint(std::shared_ptr<EndpointState> state) : state_(std::move(state)) {}
  std::shared_ptr<EndpointState> state_;  // shared with the groups made from it
};

}  // namespace rondo::comm
