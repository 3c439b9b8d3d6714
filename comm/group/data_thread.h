/// The thread of an endpoint that moves payload between hosts while no caller does: a network's buffers hold far less
/// than a bucket, so a transfer that only callers move stands still through every long layer of a backward.
///
/// Thread "rondo-data": looks after the groups that asked for it (GroupState::create). While a caller waits it steps
/// aside, since that one looks after every collective in flight; without operations in flight it sleeps; else it sleeps
/// until a descriptor is ready, in slices of a millisecond. It never lets an operation time out: who computes does not
/// wait. Lifetime: owned by the endpoint, which it holds only while it is at it.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "rondo/comm/status.h"

namespace rondo::comm {

class EndpointState;

class DataThread {
 public:
  static Result<std::unique_ptr<DataThread>> start(const std::shared_ptr<EndpointState>& endpoint);
  /// Joins, within a slice.
  ~DataThread();
  DataThread(const DataThread&) = delete;
  DataThread& operator=(const DataThread&) = delete;

  /// So many operations more, or less, are in flight.
  void queued(int change);
  void caller_waits();
  void caller_left();
  /// Whether it is at it right now; if so, a caller that has just begun to wait may find that nothing is left to wait
  /// for, and must not sleep long.
  bool moving() const;

 private:
  struct Shared;
  explicit DataThread(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  const std::shared_ptr<Shared> shared_;  // with the thread
  std::thread thread_;
};

}  // namespace rondo::comm
