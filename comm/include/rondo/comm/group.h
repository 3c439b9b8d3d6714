/// An ordered set of ranks with its own sequence numbers, links, scratch and state. Groups may overlap.
///
/// Handles are cheap to copy. Threading: any thread, but calls on one group must be issued in the same order on every
/// rank. Every error carries rank, peer, operation, tag, sequence and phase.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "rondo/comm/endpoint.h"
#include "rondo/comm/link_statistics.h"
#include "rondo/comm/memory.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

class GroupState;

struct GroupOptions {
  std::string name = "world";                           // in every error and log line; unique among live groups
  std::chrono::milliseconds operation_timeout{30'000};  // of one collective; when it passes the group is aborted
  /// "" = chosen by size and transport; an algorithm's name (algorithms.h), or rules: "ring:1M-,one-shot:-4K".
  std::string algorithm;
  int64_t segment_bytes = 256 * 1024;  // pipelining unit
};

struct SplitOptions {
  int color = 0;         // ranks with equal color form one group; -1: this rank joins none
  int key = 0;           // order inside the new group; ties by old rank
  GroupOptions options;  // options.name must differ from the parent's
};

class Group {
 public:
  /// The group of all ranks of the job. Returns when all joined; kTimeout names the absent. One creation at a time on
  /// an endpoint.
  static Result<Group> create(const Endpoint& endpoint, GroupOptions options, Deadline deadline);

  /// Collective over this group. The result is empty (`!joined()`) for color -1.
  Result<Group> split(SplitOptions options, Deadline deadline);

  bool joined() const { return state_ != nullptr; }
  int rank() const;
  int world_size() const;
  const std::string& name() const;
  /// What a run prints: how large buffers are reduced, for example "push over shm, order canonical".
  std::string description() const;
  /// How these ranks exchange bytes: "inproc", "shm", "tcp", "mpi", or "shm+tcp" or "shm+mpi" where hosts hold several
  /// of them.
  std::string transport() const;
  /// Which algorithm serves which size, a line each, with the reason of the choice.
  std::string choices() const;

  /// How good the connections to peers were so far: one entry for each peer that this rank has exchanged a message with
  /// over tcp, in the order of the first; none for ranks in one process. Stays readable when the group has ended.
  std::vector<LinkStatistics> links() const;

  /// Registered memory of this group: buckets come from here.
  Result<Region> allocate(size_t byte_count, const std::string& purpose);

  /// Ends every wait of this group on all ranks with kAborted, this rank named. Idempotent; any thread.
  void abort(const std::string& reason);

  /// Waits until nothing is in flight, says goodbye. Further calls are kClosed. Ok for a group that ended before.
  Status close(Deadline deadline);

  const std::shared_ptr<GroupState>& state() const { return state_; }
  explicit Group(std::shared_ptr<GroupState> state = nullptr) : state_(std::move(state)) {}

 private:
  std::shared_ptr<GroupState> state_;
};

}  // namespace rondo::comm
