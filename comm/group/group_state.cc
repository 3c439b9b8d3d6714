#include "comm/group/group_state.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "comm/mpi/mpi.h"
#include "comm/transport/mixed_transport.h"
#include "comm/transport/mpi_transport.h"
#include "comm/transport/pipes.h"
#include "comm/transport/shm.h"

namespace rondo::comm {
namespace {

// How long a broken link waits for the keeper, which knows who died, before the link itself is reported.
constexpr auto kEvidenceGrace = std::chrono::milliseconds(30);
// The same where the evidence has to come from another host.
constexpr auto kFarEvidenceGrace = std::chrono::milliseconds(250);
// Other hosts beat every 100 ms.
constexpr auto kHostSilentAfter = std::chrono::seconds(1);
// A pause between two looks at the head that is longer than this does not count towards the operation timeout.
constexpr auto kUnattended = std::chrono::seconds(1);

std::string seconds_text(Duration duration) {
  const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

/// Files of a dead process are closed after its mutexes are released: so a look at one whose connection broke is final.
bool is_gone(const std::shared_ptr<JobPage>& page, int job_rank) {
  if (page == nullptr) return false;
  const Membership membership = page->watch(job_rank, Duration::zero());
  return membership == Membership::kDead || membership == Membership::kLeft;
}

/// Memory inside this host, `across` to the others.
Result<std::unique_ptr<Transport>> make_links_by_pair(const EndpointState& endpoint, const GroupIdentity& id,
                                                      const std::shared_ptr<JobPage>& page,
                                                      std::unique_ptr<Transport> across) {
  PipesOptions inside{
      .page = page, .post = endpoint.post(), .group = id.id, .job_ranks = id.job_ranks, .rank = id.at.rank};
  const int own_host = id.host_of_rank[static_cast<size_t>(id.at.rank)];
  for (int rank = 0; rank < id.at.world_size; ++rank) {
    inside.mailboxes.push_back(endpoint.contact_of(id.job_ranks[static_cast<size_t>(rank)]).mailbox);
    if (id.host_of_rank[static_cast<size_t>(rank)] == own_host) inside.neighbours.push_back(rank);
  }
  if (inside.neighbours.size() == 1) return across;
  auto pipes = Pipes::open(std::move(inside));
  RONDO_TRY(pipes);
  return make_mixed_transport({.inside = *std::move(pipes), .across = std::move(across)});
}

Result<std::unique_ptr<Transport>> make_transport(const EndpointState& endpoint, const GroupIdentity& id,
                                                  const std::shared_ptr<JobPage>& page) {
  const EndpointOptions& options = endpoint.options();
  std::unique_ptr<Transport> messages;
  if (options.fabric) {
    messages = make_inproc_transport({options.fabric, id.id, id.job_ranks, id.at.rank});
  } else if (options.mpi) {
    auto made = make_mpi_transport({.mpi = options.mpi,
                                    .group = id.id,
                                    .generation = options.generation,
                                    .job_ranks = id.job_ranks,
                                    .rank = id.at.rank});
    RONDO_TRY(made);
    messages = std::move(*made);
  } else {
    TcpTransportOptions tcp{.port = endpoint.port(),
                            .group = id.id,
                            .job_ranks = id.job_ranks,
                            .rank = id.at.rank,
                            .addresses = {},
                            .is_gone = [page](int rank) { return is_gone(page, rank); }};
    for (const int rank : id.job_ranks) tcp.addresses.push_back(endpoint.contact_of(rank).addresses);
    auto made = make_tcp_transport(options.env, std::move(tcp));
    RONDO_TRY(made);
    messages = std::move(*made);
  }
  if (options.transport != TransportKind::kShm) return messages;
  if (!id.host_of_rank.empty()) return make_links_by_pair(endpoint, id, page, std::move(messages));
  ShmTransportOptions shm{.page = page,
                          .post = endpoint.post(),
                          .group = id.id,
                          .job_ranks = id.job_ranks,
                          .rank = id.at.rank,
                          .messages = std::move(messages)};
  for (const int rank : id.job_ranks) shm.mailboxes.push_back(endpoint.contact_of(rank).mailbox);
  return make_shm_transport(std::move(shm));
}

uint64_t rules_hash_of(const GroupOptions& options, const std::string& measured) {
  const std::string text = options.algorithm + "/" + std::to_string(options.segment_bytes) + "/" + measured;
  return XXH3_64bits(text.data(), text.size());
}

bool wants_data_thread(const EndpointOptions& options, const GroupIdentity& group) {
  using enum EndpointOptions::DataThread;
  if (group.purpose == GroupIdentity::Purpose::kProbe || options.data_thread == kOff) return false;
  if (options.mpi != nullptr && options.mpi->of_program()) return false;
  if (options.data_thread == kAlways) return true;
  const bool real = options.keeper == EndpointOptions::Keeper::kOn && options.fabric == nullptr;
  return real && !group.host_of_rank.empty();
}

}  // namespace

uint64_t derive_group_id(uint64_t parent, uint64_t count, int color, const std::string& name) {
  const std::string text =
      std::to_string(parent) + "/" + std::to_string(count) + "/" + std::to_string(color) + "/" + name;
  const uint64_t id = XXH3_64bits(text.data(), text.size());
  return id == kWholeJob ? 1 : id;
}

GroupState::GroupState(std::shared_ptr<EndpointState> endpoint, GroupIdentity identity)
    : endpoint_(std::move(endpoint)),
      identity_(std::move(identity)),
      page_(endpoint_->page()),
      host_layout_(layout_of(identity_.host_of_rank, identity_.at.world_size)) {}

GroupState::~GroupState() {
  // Dropped without close(): peers may still be in the last operation, so they hear that this rank left in order, as
  // far as that goes without blocking.
  const MutexLock lock(mutex_);
  queue_.clear();
  tell_data_thread();
  if (transport_ == nullptr) return;
  (void)transport_->goodbye(endpoint_->env().now());
  leave_memory(Ending::kInOrder);
}

Result<std::shared_ptr<GroupState>> GroupState::create(const std::shared_ptr<EndpointState>& endpoint,
                                                       GroupIdentity identity) {
  identity.host_of_rank = endpoint->hosts_of(identity.job_ranks);
  std::shared_ptr<GroupState> group(new GroupState(endpoint, std::move(identity)));
  const GroupIdentity& id = group->identity_;
  auto tuner = Tuner::parse(id.options.algorithm);
  RONDO_TRY(tuner);
  group->tuner_ = std::move(*tuner);
  group->rules_hash_ = rules_hash_of(id.options, "");
  if (const auto measured = endpoint->measured()) group->learn(*measured);
  auto made = make_transport(*endpoint, id, group->page_);
  RONDO_TRY(made);
  std::unique_ptr<Transport> transport = std::move(*made);
  if (const auto& wrap = endpoint->transport_wrapper()) transport = wrap(std::move(transport), id);
  group->abilities_ = transport->abilities();
  {
    const MutexLock lock(group->mutex_);
    group->transport_ = std::move(transport);
    if (const auto& recorder = endpoint->options().flight; recorder && id.purpose == GroupIdentity::Purpose::kCalls)
      group->flight_ = recorder->lane({.id = id.id, .name = id.options.name, .at = id.at}, endpoint->env().now());
  }
  if (wants_data_thread(endpoint->options(), id)) {
    const auto thread = EndpointState::data_thread_of(endpoint);
    RONDO_TRY(thread);
    group->data_thread_ = *thread;
  }
  RONDO_TRY(endpoint->add_group(group));
  return group;
}

void GroupState::learn(const Measured& measured) {
  tuner_.learn(measured, identity_.at.world_size);
  rules_hash_ = rules_hash_of(identity_.options, measured.encode());
}

void GroupState::enqueue(std::shared_ptr<Operation> operation) {
  const TimePoint now = endpoint_->env().now();
  const MutexLock lock(mutex_);
  // Who comes after the group has ended came too late: a peer that is about to name the absent must still find it so.
  const bool in_time = ended_.ok() && !ended_by_page(now);
  if (in_time && !identity_.is_channel()) publish_reached(next_sequence_);
  operation->note = flight_.called(operation->flight_call(), next_sequence_, now);
  operation->enqueued(next_sequence_++);
  if (!ended_.ok()) {
    operation->note.failed(ended_.code(), now);
    operation->finish(reason_for(*operation));
    return;
  }
  queue_.push_back(std::move(operation));
  last_call_ = now;
  advance_locked(now, Patience::kGlance);
}

void GroupState::tell_data_thread() {
  if (data_thread_ == nullptr) return;
  const auto in_flight = static_cast<int>(queue_.size());
  if (in_flight != told_in_flight_) data_thread_->queued(in_flight - told_in_flight_);
  told_in_flight_ = in_flight;
}

bool GroupState::progress_after_call() {
  if (!mutex_.try_lock()) return false;
  const bool moved = advance_locked(std::max(last_call_, last_look_), Patience::kSpin);
  mutex_.unlock();
  return moved;
}

bool GroupState::progress(TimePoint now, Patience patience) {
  if (!mutex_.try_lock()) return false;
  const bool moved = advance_locked(now, patience);
  mutex_.unlock();
  return moved;
}

bool GroupState::advance_locked(TimePoint now, Patience patience) {
  const bool moved = advance_head(now, patience);
  tell_data_thread();
  return moved;
}

bool GroupState::advance_head(TimePoint now, Patience patience) {
  if (transport_ == nullptr) return false;
  if (ended_by_page(now)) return true;
  if (queue_.empty()) {
    // Acknowledgements may still be on their way out. A broken link matters only to the next operation.
    const auto moved = transport_->progress(now);
    return moved.ok() && *moved == Progress::kProgressed;
  }
  if (!suspected_.ok()) {
    const bool near = endpoint_->on_this_host(suspected_.where().peer);
    if (now - suspected_since_ < (near ? kEvidenceGrace : kFarEvidenceGrace)) return false;
    const Status reason = judge_link(suspected_);
    post_abort(reason, reason.where().peer);
    end_locked(reason);
    return true;
  }
  Operation& head = *queue_.front();
  // Time in which nobody here looked (a long backward, a stopped process) is not the peers' fault.
  const bool attended = patience != Patience::kBackground;
  if (attended && head_started_ && now - last_look_ > kUnattended) head_since_ += now - last_look_;
  if (attended || !head_started_) last_look_ = now;
  if (!head_started_) {
    head_started_ = true;
    head_since_ = now;
    head.note.started(now);
  }
  switch (head.advance({*this, *transport_, scratch_, staging_, now, patience})) {
    case Progress::kDone: {
      const auto done = std::move(queue_.front());
      queue_.pop_front();
      head_started_ = false;
      done->note.finished(now);
      done->finish({});
      return true;
    }
    case Progress::kFailed:
      fail_operation(head.status(), now);
      return true;
    case Progress::kProgressed:
      return true;
    case Progress::kBlocked:
      head.note.blocked(head.flight_position());
      break;
  }
  if (identity_.is_channel() && left_alone(now)) {
    const Where where = head.where();
    fail_operation(Status(Code::kClosed, "rank " + std::to_string(where.peer) + " did not take part", where), now);
    return true;
  }
  if (!attended || now - head_since_ < identity_.options.operation_timeout) return false;
  const Status late = late_operation(now);
  post_abort(late, late.where().peer);
  end_locked(late);
  return true;
}

void GroupState::publish_reached(uint64_t sequence) {
  if (page_ != nullptr)
    page_->set_reached(job_rank(identity_.at.rank), (identity_.id << 32) | (sequence & 0xffffffffu));
}

// In a ring everybody waits for his neighbour, so the one that a rank waits for is seldom the one that is stuck. The
// job page says who has not even made the call.
Status GroupState::late_operation(TimePoint now) {
  Where where = queue_.front()->where();
  const auto sequence = static_cast<uint64_t>(where.sequence);
  const auto has_called = [&](int rank) {
    const uint64_t word = page_->reached(rank);
    return word >> 32 == (identity_.id & 0xffffffffu) && (word & 0xffffffffu) >= (sequence & 0xffffffffu);
  };
  std::string silent;
  int first_silent = -1;
  for (const int rank : identity_.job_ranks) {
    if (page_ == nullptr || identity_.is_channel() || rank == where.rank || has_called(rank)) continue;
    if (first_silent < 0) first_silent = rank;
    silent += (silent.empty() ? "rank " : ", ") + std::to_string(rank);
  }
  std::string text =
      where.operation + " timed out after " + seconds_text(now - head_since_) + ": rank " + std::to_string(where.rank);
  text += where.peer >= 0 ? " waits for rank " + std::to_string(where.peer) : " waits for its peers";
  text += " in group \"" + identity_.options.name + "\"";
  if (const std::string host = silent_host(where); !host.empty()) {
    text += "; " + host;
  } else if (const std::vector<int> stopped = stopped_ranks(); !stopped.empty()) {
    where.peer = stopped.front();
    for (const int rank : stopped)
      text += "; " + person(rank, page_->pid(rank)) + " has not beaten for " + seconds_text(endpoint_->silence(rank));
    text += ": stopped (SIGSTOP, a debugger) or starved of its cpu. It was not evicted";
  } else if (first_silent >= 0) {
    where.peer = first_silent;
    text += "; not in this call: " + silent + ". Likely stuck or very slow there, or another collective was called";
  } else if (identity_.is_channel()) {
    text +=
        ". Likely that rank has not made the call at the other end: what a rank sends to another is received in the "
        "order of the calls";
  } else {
    text += ". Every rank made this call: likely a stopped process or a link that stands still";
  }
  return Status(Code::kTimeout, text, where);
}

std::vector<int> GroupState::stopped_ranks() const {
  std::vector<int> stopped;
  for (const int rank : identity_.job_ranks) {
    const Duration limit = endpoint_->on_this_host(rank) ? Duration(kStoppedAfter) : Duration(kHostSilentAfter);
    if (page_ != nullptr && endpoint_->silence(rank) >= limit) stopped.push_back(rank);
  }
  return stopped;
}

// Where all ranks of a host fall silent at once, it is seldom they who are stuck.
std::string GroupState::silent_host(Where& where) const {
  if (page_ == nullptr || identity_.host_of_rank.empty()) return {};
  std::map<std::string, std::vector<int>> ranks_of;
  for (const int rank : identity_.job_ranks)
    if (!endpoint_->on_this_host(rank)) ranks_of[endpoint_->contact_of(rank).host].push_back(rank);
  for (const auto& [host, ranks] : ranks_of) {
    Duration least = Duration::max();
    std::string names;
    for (const int rank : ranks) {
      least = std::min(least, endpoint_->silence(rank));
      names += (names.empty() ? "rank " : ", ") + std::to_string(rank);
    }
    if (least < kHostSilentAfter) continue;
    where.peer = ranks.front();
    return "nothing was heard from host " + host.substr(0, host.find('/')) + " (" + names + ") for " +
           seconds_text(least) + ": it is down, or the network between is cut";
  }
  return {};
}

Status GroupState::judge_link(const Status& broken) const {
  const Where& where = broken.where();
  if (page_ == nullptr || where.peer < 0) return broken;
  // This look is final, see is_gone(): the keeper, which knows as soon as it gets a core, need not be waited for any
  // longer.
  const Membership membership = page_->watch(where.peer, Duration::zero());
  const std::string who = person(where.peer, page_->pid(where.peer));
  switch (membership) {
    case Membership::kDead:
      return Status(Code::kPeerLost, who + " died: the kernel released its robust mutex", where);
    case Membership::kLeft:
      return Status(broken.code(), broken.message() + "; " + who + " left the job in order", where);
    case Membership::kPresent:
      if (const Duration silence = endpoint_->silence(where.peer); silence >= kStoppedAfter)
        return Status(broken.code(), broken.message() + "; " + who + " has not beaten for " + seconds_text(silence),
                      where);
      return Status(broken.code(), broken.message() + "; but " + who + " lives", where);
    case Membership::kAbsent:
      break;
  }
  return broken;
}

Status GroupState::reason_for(const Operation& operation) const {
  Where where = operation.where();
  where.peer = -1;  // the reason alone says whose fault it is
  return ended_.at(where);
}

void GroupState::fail_operation(const Status& why, TimePoint now) {
  const Status full = why.at(queue_.front()->where());
  if (full.code() == Code::kPeerLost || full.code() == Code::kIo || full.code() == Code::kClosed) {
    suspected_ = full;
    suspected_since_ = now;
    return;
  }
  // What this rank lacks or did wrong is nobody else's fault.
  const bool own =
      full.code() == Code::kResource || full.code() == Code::kUnsupported || full.code() == Code::kInvalidArgument;
  post_abort(full, own ? job_rank(identity_.at.rank) : full.where().peer);
  end_locked(full);
}

bool GroupState::ended_by_page(TimePoint) {
  if (page_ == nullptr) return false;
  const uint64_t version = page_->abort_version();
  if (version == seen_aborts_) return false;
  seen_aborts_ = version;
  const auto reason = page_->abort_of(identity_.abort_id());
  if (!reason) return false;
  const int me = job_rank(identity_.at.rank);
  std::string text = reason->text;
  if (reason->reporter >= 0 && reason->reporter != me)
    text += " (said by rank " + std::to_string(reason->reporter) + ")";
  // Of two ranks that disagree each is the other's.
  const bool seen_by_other = reason->code == Code::kMismatch && reason->culprit == me;
  end_locked(Status(reason->code, text, {.rank = me, .peer = seen_by_other ? reason->reporter : reason->culprit}));
  return true;
}

void GroupState::post_abort(const Status& reason, int culprit) {
  if (page_ == nullptr) return;
  page_->post_abort({.group = identity_.abort_id(),
                     .generation = endpoint_->options().generation,
                     .code = reason.code(),
                     .culprit = culprit,
                     .reporter = job_rank(identity_.at.rank),
                     .text = reason.message()});
  if (endpoint_->options().fabric) endpoint_->options().fabric->notify();
}

void GroupState::leave_memory(Ending ending) {
  transport_.reset();
  if (ending == Ending::kByError && abilities_.region) {
    const MutexLock lock(regions_mutex_);
    std::vector<int> others = identity_.job_ranks;
    std::erase(others, job_rank(identity_.at.rank));
    for (const Registration& each : std::exchange(regions_, {})) {
      Region region = each.life.region();
      if (!region.empty())
        endpoint_->quarantine().keep({.region = std::move(region), .group = identity_.id, .others = others});
    }
  }
  endpoint_->group_left(identity_.id);
}

void GroupState::end_locked(const Status& reason, Ending ending) {
  if (!ended_.ok()) return;
  ended_ = reason;
  live_.store(false, std::memory_order_release);
  // The transport goes first: it may still borrow memory of the operations.
  if (transport_ != nullptr) last_links_ = transport_->links();
  leave_memory(ending);
  const TimePoint now = endpoint_->env().now();
  const auto operations = std::exchange(queue_, {});
  tell_data_thread();
  const Where& where = reason.where();
  // Before a waiter learns of it: it may end the process at once, and who is to blame is read from here.
  if (const auto& recorder = endpoint_->options().flight; recorder && reason.code() != Code::kClosed)
    recorder->ended({.code = reason.code(),
                     .culprit = where.peer,
                     .reporter = where.rank,
                     .at_ns = flight_time(now),
                     .text = reason.message()});
  for (const auto& operation : operations) {
    operation->note.blocked(operation->flight_position());
    operation->note.failed(reason.code(), now);
    operation->finish(reason_for(*operation));
  }
  flight_.ended(reason.code(), where.peer, now);
}

void GroupState::end(const Status& reason, int culprit) {
  const MutexLock lock(mutex_);
  if (!ended_.ok()) return;
  post_abort(reason, culprit);
  end_locked(reason);
}

Status GroupState::close(Deadline deadline) {
  RONDO_TRY(close_channels(deadline));
  const EndpointState::Waiting waiting(*endpoint_);
  Env& env = endpoint_->env();
  for (;;) {
    const TimePoint now = env.now();
    {
      const MutexLock lock(mutex_);
      // A group that has ended, for whatever reason, has nothing left to close.
      if (transport_ == nullptr) return {};
      advance_locked(now, Patience::kGlance);
      if (transport_ == nullptr) return {};
      if (queue_.empty()) {
        const Status said = transport_->goodbye(now);
        if (!said.is_pending()) {
          end_locked(Status(Code::kClosed, "group \"" + identity_.options.name + "\" was closed by this rank",
                            {.rank = job_rank(identity_.at.rank)}),
                     Ending::kInOrder);
          return said;
        }
      }
      if (deadline.passed(now)) {
        return Status(Code::kTimeout,
                      "group \"" + identity_.options.name + "\" still has work in flight or unsent bytes",
                      {.rank = job_rank(identity_.at.rank), .operation = "close"});
      }
    }
    endpoint_->idle(std::chrono::milliseconds(1));
  }
}

std::vector<LinkStatistics> GroupState::links() {
  const MutexLock lock(mutex_);
  return transport_ != nullptr ? transport_->links() : last_links_;
}

std::vector<WaitHandle> GroupState::wait_handles() {
  if (!mutex_.try_lock()) return {};
  auto handles = transport_ != nullptr ? transport_->wait_handles() : std::vector<WaitHandle>();
  mutex_.unlock();
  return handles;
}

Result<Region> GroupState::allocate(size_t byte_count, const std::string& purpose) {
  Result<Region> region = page_ != nullptr ? endpoint_->quarantine().take(byte_count, *page_) : Region();
  if (region->empty()) region = Region::allocate(byte_count, purpose);
  if (region.status().code() == Code::kResource) {
    endpoint_->quarantine().drop();
    region = Region::allocate(byte_count, purpose);
  }
  if (!region.ok()) return region.status().at({.rank = job_rank(identity_.at.rank)});
  uint64_t id = 0;
  {
    const MutexLock lock(regions_mutex_);
    id = next_region_++;
  }
  if (abilities_.region) {
    const MutexLock lock(mutex_);
    if (transport_ == nullptr) return ended_;
    RONDO_TRY(transport_->expose(id, *region));
  }
  const MutexLock lock(regions_mutex_);
  std::erase_if(regions_, [](const Registration& each) { return each.life.expired(); });
  regions_.push_back({id, region->bytes(), region->life()});
  return region;
}

std::optional<GroupState::Registered> GroupState::find_registered(std::span<const std::byte> memory) {
  const MutexLock lock(regions_mutex_);
  for (const Registration& each : regions_) {
    const std::byte* begin = each.bytes.data();
    const bool inside = memory.data() >= begin && memory.data() + memory.size() <= begin + each.bytes.size();
    // Memory of a region that is gone may have been mapped again, by anybody.
    if (inside && !each.life.expired()) return Registered{each.id, static_cast<size_t>(memory.data() - begin)};
  }
  return std::nullopt;
}

std::span<std::byte> GroupState::peer_region(int peer, uint64_t id) {
  const MutexLock lock(mutex_);
  if (transport_ == nullptr) return {};
  const auto region = transport_->peer_region(peer, id);
  return region.ok() ? *region : std::span<std::byte>();
}

Result<std::shared_ptr<const Schedule>> GroupState::schedule(const ScheduleKey& key,
                                                             const std::function<Result<Schedule>()>& make) {
  constexpr size_t kKept = 256;
  const MutexLock lock(regions_mutex_);
  if (const auto found = schedules_.find(key); found != schedules_.end()) return found->second;
  auto made = make();
  RONDO_TRY(made);
  if (schedules_.size() >= kKept) schedules_.clear();
  return schedules_[key] = std::make_shared<const Schedule>(std::move(*made));
}

}  // namespace rondo::comm
