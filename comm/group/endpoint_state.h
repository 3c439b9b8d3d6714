/// What an Endpoint is behind its handle.
///
/// Threading: options are constant. `groups_` is locked; page and keeper are set once, by the first group creation.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "comm/group/contact.h"
#include "comm/group/data_thread.h"
#include "comm/group/quarantine.h"
#include "comm/schedule/measured.h"
#include "comm/transport/inproc.h"
#include "comm/transport/region_post.h"
#include "comm/transport/tcp.h"
#include "comm/watch/job_page.h"
#include "comm/watch/keeper.h"
#include "rondo/comm/endpoint.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {

class GroupState;
class HostRelay;
struct GroupIdentity;

class EndpointState {
 public:
  explicit EndpointState(EndpointOptions options) : options_(std::move(options)) {}
  ~EndpointState();

  const EndpointOptions& options() const { return options_; }
  Env& env() const { return *options_.env; }
  const std::shared_ptr<TcpPort>& port() const { return port_; }
  /// How peers of this host hand memory over; null unless kShm.
  const std::shared_ptr<RegionPost>& post() const { return post_; }
  /// Opens what the transport needs.
  Status open();

  /// How this rank is reached.
  Contact own_contact() const;
  /// How all ranks of the job are reached, known once the first group is formed.
  void set_contacts(std::vector<Contact> by_job_rank) RONDO_EXCLUDES(mutex_);
  Contact contact_of(int job_rank) const RONDO_EXCLUDES(mutex_);
  /// A number for the host of each of these ranks; empty when all are on one.
  std::vector<int> hosts_of(const std::vector<int>& job_ranks) const RONDO_EXCLUDES(mutex_);

  /// Puts something between every group of this endpoint and its transport: how tests inject faults. Set before the
  /// first group is made, constant afterwards.
  using TransportWrapper = std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>, const GroupIdentity&)>;
  void wrap_transports(TransportWrapper wrapper) { wrapper_ = std::move(wrapper); }
  const TransportWrapper& transport_wrapper() const { return wrapper_; }

  /// The job page of this host; null until the first group is formed.
  std::shared_ptr<JobPage> page() const RONDO_EXCLUDES(mutex_);
  /// Sets the page and starts the keeper, once. `local_ranks`: of the job, those of this host; empty: all.
  Status install_page(std::shared_ptr<JobPage> page, std::vector<int> local_ranks = {}) RONDO_EXCLUDES(mutex_);

  /// The relays of other hosts that this rank has to hear from and has not yet.
  std::vector<int> unmet_relays() const RONDO_EXCLUDES(mutex_);
  bool on_this_host(int job_rank) const RONDO_EXCLUDES(mutex_);
  /// What the first group of the job measured; equal on all ranks. Empty: nothing was.
  std::optional<Measured> measured() const RONDO_EXCLUDES(mutex_);
  void set_measured(Measured measured) RONDO_EXCLUDES(mutex_);

  /// How long a rank of this host was watched without a beat, or one of another host was not heard of; 0 without a
  /// keeper.
  Duration silence(int rank) const RONDO_EXCLUDES(mutex_);

  /// How many groups of this name were asked for before; equal on all ranks, since creation is collective.
  int next_creation(const std::string& name) RONDO_EXCLUDES(mutex_);
  /// kInvalidArgument when a live group has the same name.
  Status add_group(const std::shared_ptr<GroupState>& group) RONDO_EXCLUDES(mutex_);
  /// The transport of `group` is down: this rank reaches no memory of its peers through it any more. Tells them so in
  /// the job page, for the group if it was aborted, and for the whole job if it was the last.
  void group_left(uint64_t group) RONDO_EXCLUDES(mutex_);
  Quarantine& quarantine() { return quarantine_; }
  /// Advances the oldest operation of every group, those another thread is busy with excepted. True when anything
  /// moved.
  bool progress() RONDO_EXCLUDES(mutex_);
  /// The same for the groups that the data thread looks after, on its behalf.
  bool progress_carried() RONDO_EXCLUDES(mutex_);
  std::vector<WaitHandle> carried_handles() RONDO_EXCLUDES(mutex_);
  /// The data thread, started if it was not; see EndpointOptions::DataThread.
  static Result<DataThread*> data_thread_of(const std::shared_ptr<EndpointState>& endpoint) RONDO_EXCLUDES(mutex_);
  /// While it lives, a caller waits, and the data thread need not move anything.
  class Waiting {
   public:
    explicit Waiting(const EndpointState& endpoint) : thread_(endpoint.data_thread_now_.load()) {
      if (thread_ != nullptr) thread_->caller_waits();
    }
    ~Waiting() {
      if (thread_ != nullptr) thread_->caller_left();
    }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    DataThread* const thread_;
  };
  /// Sleeps until a group may go on, at most `at_most`.
  void idle(Duration at_most) RONDO_EXCLUDES(mutex_);
  Status close(Deadline deadline) RONDO_EXCLUDES(mutex_);
  void abort(const std::string& reason) RONDO_EXCLUDES(mutex_);

 private:
  Status start_relay(KeeperOptions& keeper, const std::shared_ptr<JobPage>& page) RONDO_REQUIRES(mutex_);
  std::vector<std::shared_ptr<GroupState>> live_groups() RONDO_EXCLUDES(mutex_);
  enum class Whose : uint8_t { kAll, kCarried };
  std::vector<WaitHandle> wait_handles(Whose whose = Whose::kAll) RONDO_EXCLUDES(mutex_);
  void idle_at_bell(Duration at_most) RONDO_EXCLUDES(mutex_);
  Status leave_mpi(Deadline deadline) RONDO_EXCLUDES(mutex_);

  const EndpointOptions options_;
  std::shared_ptr<TcpPort> port_;  // shared with the groups' transports, as post_ is
  std::shared_ptr<RegionPost> post_;
  TransportWrapper wrapper_;  // may be empty
  Quarantine quarantine_;

  mutable Mutex mutex_;
  std::shared_ptr<HostRelay> relay_ RONDO_GUARDED_BY(mutex_);  // shared with the keeper; null on one host
  std::vector<std::weak_ptr<GroupState>> groups_ RONDO_GUARDED_BY(mutex_);
  std::set<uint64_t> reaching_ RONDO_GUARDED_BY(mutex_);  // groups whose transport is up
  std::map<std::string, int> creations_ RONDO_GUARDED_BY(mutex_);
  std::shared_ptr<JobPage> page_ RONDO_GUARDED_BY(mutex_);  // shared with the keeper and the groups
  std::unique_ptr<Keeper> keeper_ RONDO_GUARDED_BY(mutex_);
  std::vector<Contact> contacts_ RONDO_GUARDED_BY(mutex_);
  std::optional<Measured> measured_ RONDO_GUARDED_BY(mutex_);
  std::unique_ptr<DataThread> data_thread_ RONDO_GUARDED_BY(mutex_);  // last: it ends first
  std::atomic<DataThread*> data_thread_now_{nullptr};                 // the same, constant once set
};

}  // namespace rondo::comm
