/// What a Group is behind its handle: members, links, the queue of operations, and the reason why it ended.
///
/// Operations run one after the other, in issue order; messages between a pair are in order, so no matching by number
/// is needed. Threading: everything below `mutex_` is guarded by it; progress takes it with try_lock, so two groups
/// waited for in different order cannot deadlock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/group/endpoint_state.h"
#include "comm/group/operation.h"
#include "comm/schedule/tuner.h"
#include "comm/transport/transport.h"
#include "comm/watch/job_page.h"
#include "rondo/comm/group.h"
#include "rondo/comm/schedule.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {

/// From one rank of a group to another.
struct Way {
  int from = 0, to = 0;
  auto operator<=>(const Way&) const = default;
};

/// Fixed at creation.
struct GroupIdentity {
  uint64_t id = 0;    // equal on all members, different for every group of a job
  uint64_t fate = 0;  // of a channel: the id of the group that it ends with; else 0
  GroupOptions options;
  Position at;                    // in the group
  std::vector<int> job_ranks;     // group rank -> rank in the job
  std::vector<int> host_of_rank;  // a number for each host, by group rank; empty: all on one
  /// kProbe: made and closed inside a group's creation; leaves no flight record.
  enum class Purpose : uint8_t { kCalls, kProbe } purpose = Purpose::kCalls;

  bool is_channel() const { return fate != 0; }
  /// Under which aborts are posted and heard.
  uint64_t abort_id() const { return is_channel() ? fate : id; }
};

/// A number for a new group: depends on the parent, the count of groups split from it, and the name.
uint64_t derive_group_id(uint64_t parent, uint64_t count, int color, const std::string& name);

class GroupState : public std::enable_shared_from_this<GroupState> {
 public:
  static Result<std::shared_ptr<GroupState>> create(const std::shared_ptr<EndpointState>& endpoint,
                                                    GroupIdentity identity);

  ~GroupState();

  const GroupIdentity& identity() const { return identity_; }
  EndpointState& endpoint() const { return *endpoint_; }
  const std::shared_ptr<EndpointState>& shared_endpoint() const { return endpoint_; }
  Position at() const { return identity_.at; }
  /// Not yet ended or closed.
  bool live() const { return live_.load(std::memory_order_acquire); }
  int job_rank(int group_rank) const { return identity_.job_ranks[static_cast<size_t>(group_rank)]; }

  /// Queues an operation and advances once. A group that ended finishes it with the reason at once.
  void enqueue(std::shared_ptr<Operation> operation) RONDO_EXCLUDES(mutex_);
  /// Advances the oldest operation. True when anything moved. Returns at once when another thread is at it.
  bool progress(TimePoint now, Patience patience = Patience::kGlance) RONDO_EXCLUDES(mutex_);
  /// The same at the time of the call that came last, patiently: of a call that is waited for at once nothing else
  /// needs to know the time.
  bool progress_after_call() RONDO_EXCLUDES(mutex_);
  /// Ends the group here and, through the job page, everywhere. The first reason stays.
  void end(const Status& reason, int culprit) RONDO_EXCLUDES(mutex_);
  Status close(Deadline deadline) RONDO_EXCLUDES(mutex_);

  Result<Region> allocate(size_t byte_count, const std::string& purpose) RONDO_EXCLUDES(mutex_);
  /// See Group::links().
  std::vector<LinkStatistics> links() RONDO_EXCLUDES(mutex_);
  /// What an idle thread may wait for; empty when another thread is busy with this group.
  std::vector<WaitHandle> wait_handles() RONDO_EXCLUDES(mutex_);
  /// Whether the endpoint's data thread looks after this group.
  bool carried() const { return data_thread_ != nullptr; }
  uint64_t next_split() { return splits_.fetch_add(1); }

  /// The *channel* of one direction of a pair, of which this rank is one end: a group of these two (sender first) with
  /// its own queue, sequence numbers and links, made when it is first asked for. Nothing is agreed upon for that: both
  /// ends derive the same id, and what one has posted or dialed waits until the other makes its own. A channel ends
  /// with its group, and the group with it: aborts of either go by the group's id. The reason, if the group has ended.
  Result<std::shared_ptr<GroupState>> channel(Way way) RONDO_EXCLUDES(mutex_, channels_mutex_);

  // --- for operations.
  Abilities abilities() const { return abilities_; }
  /// Where `memory` lies in the group's registered regions.
  struct Registered {
    uint64_t id = 0;
    size_t offset = 0;
  };
  std::optional<Registered> find_registered(std::span<const std::byte> memory) RONDO_EXCLUDES(regions_mutex_);
  /// A peer's region, mapped here; empty while it has not arrived, or the group ended.
  std::span<std::byte> peer_region(int peer, uint64_t id) RONDO_EXCLUDES(mutex_);
  /// Schedules are pure and are kept per shape: goal, algorithm, elements, their width, root, wire. `make` runs when
  /// the key is new.
  using ScheduleKey = std::array<int64_t, 6>;
  Result<std::shared_ptr<const Schedule>> schedule(const ScheduleKey& key,
                                                   const std::function<Result<Schedule>()>& make)
      RONDO_EXCLUDES(regions_mutex_);
  const Tuner& tuner() const { return tuner_; }
  HostLayout host_layout() const { return host_layout_; }
  /// Choices go by `measured` from now on. Before the group is handed to anybody, and with the same on every member.
  void learn(const Measured& measured);
  /// Of what must be equal on all ranks for them to choose equal schedules.
  uint64_t rules_hash() const { return rules_hash_; }

 private:
  GroupState(std::shared_ptr<EndpointState> endpoint, GroupIdentity identity);
  bool advance_locked(TimePoint now, Patience patience) RONDO_REQUIRES(mutex_);
  bool advance_head(TimePoint now, Patience patience) RONDO_REQUIRES(mutex_);
  void tell_data_thread() RONDO_REQUIRES(mutex_);
  bool ended_by_page(TimePoint now) RONDO_REQUIRES(mutex_);
  /// Of a channel: the other end left the job, and what it may have sent before has had time to arrive.
  bool left_alone(TimePoint now) RONDO_REQUIRES(mutex_);
  Status close_channels(Deadline deadline) RONDO_EXCLUDES(mutex_, channels_mutex_);
  enum class Ending : uint8_t { kByError, kInOrder };
  void end_locked(const Status& reason, Ending ending = Ending::kByError) RONDO_REQUIRES(mutex_);
  /// Takes the transport down and tells the peers, who may then use their memory again; see Note [Quarantine].
  void leave_memory(Ending ending) RONDO_REQUIRES(mutex_);
  /// The operation timeout of the head has passed: who has not made this call?
  Status late_operation(TimePoint now) RONDO_REQUIRES(mutex_);
  void publish_reached(uint64_t sequence) RONDO_REQUIRES(mutex_);
  /// The members whose keepers do not beat.
  std::vector<int> stopped_ranks() const;
  /// Says so when nothing comes from a whole host any more, and turns `where` to it; else empty.
  std::string silent_host(Where& where) const;
  /// Why a link broke: whether the process behind it lives can be asked of its robust mutex.
  Status judge_link(const Status& broken) const;
  Status reason_for(const Operation& operation) const RONDO_REQUIRES(mutex_);
  void fail_operation(const Status& why, TimePoint now) RONDO_REQUIRES(mutex_);
  void post_abort(const Status& reason, int culprit);

  const std::shared_ptr<EndpointState> endpoint_;  // shared with all groups of the endpoint
  const GroupIdentity identity_;
  const std::shared_ptr<JobPage> page_;  // shared with keeper and endpoint
  Abilities abilities_;                  // constant after creation, as what follows
  Tuner tuner_;
  const HostLayout host_layout_;
  uint64_t rules_hash_ = 0;
  std::atomic<uint64_t> splits_{0};
  std::atomic<bool> live_{true};
  DataThread* data_thread_ = nullptr;  // the endpoint's, when it looks after this group; constant after creation

  Mutex mutex_;
  std::unique_ptr<Transport> transport_ RONDO_GUARDED_BY(mutex_);    // null once ended or closed
  std::vector<LinkStatistics> last_links_ RONDO_GUARDED_BY(mutex_);  // when it ended
  FlightLane flight_ RONDO_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Operation>> queue_ RONDO_GUARDED_BY(mutex_);
  int told_in_flight_ RONDO_GUARDED_BY(mutex_) = 0;  // what the data thread knows of the queue's length
  uint64_t next_sequence_ RONDO_GUARDED_BY(mutex_) = 0;
  TimePoint head_since_ RONDO_GUARDED_BY(mutex_);
  bool head_started_ RONDO_GUARDED_BY(mutex_) = false;
  TimePoint last_look_ RONDO_GUARDED_BY(mutex_);
  TimePoint last_call_ RONDO_GUARDED_BY(mutex_);
  Status ended_ RONDO_GUARDED_BY(mutex_);
  // A broken link waits a moment for the keeper's better evidence before it is reported.
  Status suspected_ RONDO_GUARDED_BY(mutex_);
  TimePoint suspected_since_ RONDO_GUARDED_BY(mutex_);
  std::optional<TimePoint> alone_since_ RONDO_GUARDED_BY(mutex_);
  uint64_t seen_aborts_ RONDO_GUARDED_BY(mutex_) = 0;
  std::vector<std::byte> scratch_ RONDO_GUARDED_BY(mutex_);
  Region staging_ RONDO_GUARDED_BY(mutex_);

  Mutex channels_mutex_;
  // In an order that is the same at both ends, so that closing one after the other does not wait in a circle. Shared
  // with the works in flight.
  std::map<Way, std::shared_ptr<GroupState>> channels_ RONDO_GUARDED_BY(channels_mutex_);

  struct Registration {
    uint64_t id;
    std::span<std::byte> bytes;
    Region::Life life;
  };
  Mutex regions_mutex_;
  std::vector<Registration> regions_ RONDO_GUARDED_BY(regions_mutex_);
  uint64_t next_region_ RONDO_GUARDED_BY(regions_mutex_) = 1;
  std::map<ScheduleKey, std::shared_ptr<const Schedule>> schedules_ RONDO_GUARDED_BY(regions_mutex_);
};

}  // namespace rondo::comm
