#include "rondo/comm/endpoint.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "comm/group/endpoint_state.h"
#include "comm/group/group_state.h"
#include "comm/group/host_relay.h"
#include "comm/mpi/mpi.h"

namespace rondo::comm {
namespace {

constexpr auto kMixedSlice = std::chrono::microseconds(200);
constexpr auto kBesideDataThread = std::chrono::microseconds(100);

}  // namespace

std::string_view name(TransportKind kind) {
  switch (kind) {
    case TransportKind::kInproc:
      return "inproc";
    case TransportKind::kTcp:
      return "tcp";
    case TransportKind::kShm:
      return "shm";
    case TransportKind::kMpi:
      return "mpi";
  }
  return "unknown transport";
}

EndpointState::~EndpointState() = default;

Status EndpointState::open() {
  if (options_.transport == TransportKind::kShm) {
    if (options_.fabric) {
      post_ = region_post_of(options_.fabric, options_.at.rank);
    } else {
      auto post = open_region_post({.rank = options_.at.rank, .job = options_.job, .generation = options_.generation});
      RONDO_TRY(post);
      post_ = std::move(*post);
    }
  }
  if (options_.fabric) return {};
  auto port = TcpPort::open(options_.env, {.rank = options_.at.rank,
                                           .job = options_.job,
                                           .secret = options_.secret,
                                           .generation = options_.generation,
                                           .listen = options_.listen,
                                           .log = options_.log});
  RONDO_TRY(port);
  port_ = std::move(*port);
  return {};
}

std::shared_ptr<JobPage> EndpointState::page() const {
  const MutexLock lock(mutex_);
  return page_;
}

Status EndpointState::install_page(std::shared_ptr<JobPage> page, std::vector<int> local_ranks) {
  const MutexLock lock(mutex_);
  if (page_ != nullptr) return {};
  if (options_.keeper == EndpointOptions::Keeper::kOn) {
    KeeperOptions keeper;
    keeper.rank = options_.at.rank;
    keeper.world_size = options_.at.world_size;
    keeper.local_ranks = std::move(local_ranks);
    keeper.generation = options_.generation;
    keeper.control_descriptor = options_.control_descriptor;
    keeper.log = options_.log;
    keeper.flight = options_.flight;
    if (options_.fabric) keeper.on_abort = [fabric = options_.fabric] { fabric->notify(); };
    if (!options_.host.empty() && port_) RONDO_TRY(start_relay(keeper, page));
    auto started = Keeper::start(page, std::move(keeper));
    RONDO_TRY(started);
    keeper_ = std::move(*started);
  }
  page_ = std::move(page);
  return {};
}

Contact EndpointState::own_contact() const {
  return {.host = options_.host,
          .mailbox = post_ ? post_->mailbox() : std::string(),
          .addresses = port_ ? port_->addresses() : std::vector<Address>()};
}

void EndpointState::set_contacts(std::vector<Contact> by_job_rank) {
  const MutexLock lock(mutex_);
  contacts_ = std::move(by_job_rank);
}

Contact EndpointState::contact_of(int job_rank) const {
  const MutexLock lock(mutex_);
  const auto index = static_cast<size_t>(job_rank);
  return index < contacts_.size() ? contacts_[index] : Contact();
}

std::vector<int> EndpointState::hosts_of(const std::vector<int>& job_ranks) const {
  const MutexLock lock(mutex_);
  std::map<std::string, int> numbers;
  std::vector<int> hosts;
  for (const int rank : job_ranks) {
    const auto index = static_cast<size_t>(rank);
    const std::string host = index < contacts_.size() ? contacts_[index].host : std::string();
    hosts.push_back(numbers.try_emplace(host, static_cast<int>(numbers.size())).first->second);
  }
  return numbers.size() < 2 ? std::vector<int>() : hosts;
}

Status EndpointState::start_relay(KeeperOptions& keeper, const std::shared_ptr<JobPage>& page) {
  HostRelayOptions relay{.env = options_.env,
                         .port = port_,
                         .page = page,
                         .rank = options_.at.rank,
                         .contacts = contacts_,
                         .host_of_rank = {}};
  for (const Contact& contact : contacts_) {
    const auto same = [&](const Contact& other) { return other.host == contact.host; };
    relay.host_of_rank.push_back(static_cast<int>(std::ranges::find_if(contacts_, same) - contacts_.begin()));
  }
  auto made = HostRelay::create(std::move(relay));
  RONDO_TRY(made);
  relay_ = *std::move(made);
  keeper.on_beat = [shared = relay_](TimePoint now) { shared->advance(now); };
  keeper.on_leave = [shared = relay_] { shared->leave(); };
  return {};
}

std::vector<int> EndpointState::unmet_relays() const {
  const MutexLock lock(mutex_);
  return relay_ ? relay_->unmet() : std::vector<int>();
}

bool EndpointState::on_this_host(int job_rank) const {
  const MutexLock lock(mutex_);
  const auto index = static_cast<size_t>(job_rank);
  return index >= contacts_.size() || contacts_[index].host == options_.host;
}

std::optional<Measured> EndpointState::measured() const {
  const MutexLock lock(mutex_);
  return measured_;
}

void EndpointState::set_measured(Measured measured) {
  const MutexLock lock(mutex_);
  measured_ = std::move(measured);
}

Duration EndpointState::silence(int rank) const {
  const bool near = on_this_host(rank);
  const MutexLock lock(mutex_);
  if (!keeper_) return Duration::zero();
  if (near) return keeper_->silence(rank);
  const Duration heard = std::chrono::nanoseconds(page_->last_beat_ns(rank));
  const Duration now = env().now().time_since_epoch();
  return heard == Duration::zero() ? Duration::zero() : std::max(now - heard, Duration::zero());
}

int EndpointState::next_creation(const std::string& name) {
  const MutexLock lock(mutex_);
  return creations_[name]++;
}

Status EndpointState::add_group(const std::shared_ptr<GroupState>& group) {
  const MutexLock lock(mutex_);
  std::erase_if(groups_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : groups_) {
    const auto other = weak.lock();
    if (other && other->live() && other->identity().options.name == group->identity().options.name) {
      return Status(Code::kInvalidArgument,
                    "there is a live group named \"" + other->identity().options.name +
                        "\" already: give this one a name of its own, or close the other first",
                    {.rank = options_.at.rank});
    }
  }
  groups_.push_back(group);
  reaching_.insert(group->identity().id);
  return {};
}

void EndpointState::group_left(uint64_t group) {
  const MutexLock lock(mutex_);
  reaching_.erase(group);
  if (page_ == nullptr) return;
  page_->post_left(options_.at.rank, group);
  if (reaching_.empty()) page_->post_left(options_.at.rank, kWholeJob);
}

std::vector<std::shared_ptr<GroupState>> EndpointState::live_groups() {
  const MutexLock lock(mutex_);
  std::vector<std::shared_ptr<GroupState>> live;
  live.reserve(groups_.size());
  for (const auto& weak : groups_) {
    if (auto group = weak.lock()) live.push_back(std::move(group));
  }
  return live;
}

bool EndpointState::progress() {
  const TimePoint now = env().now();
  bool moved = false;
  for (const auto& group : live_groups()) moved = group->progress(now) || moved;
  return moved;
}

bool EndpointState::progress_carried() {
  const TimePoint now = env().now();
  bool moved = false;
  for (const auto& group : live_groups()) {
    if (group->carried()) moved = group->progress(now, Patience::kBackground) || moved;
  }
  return moved;
}

std::vector<WaitHandle> EndpointState::carried_handles() { return wait_handles(Whose::kCarried); }

Result<DataThread*> EndpointState::data_thread_of(const std::shared_ptr<EndpointState>& endpoint) {
  const MutexLock lock(endpoint->mutex_);
  if (!endpoint->data_thread_) {
    auto started = DataThread::start(endpoint);
    RONDO_TRY(started);
    endpoint->data_thread_ = *std::move(started);
    endpoint->data_thread_now_.store(endpoint->data_thread_.get());
  }
  return endpoint->data_thread_.get();
}

void EndpointState::idle(Duration at_most) {
  if (const DataThread* thread = data_thread_now_.load(); thread != nullptr && thread->moving())
    at_most = std::min<Duration>(at_most, kBesideDataThread);
  if (options_.transport == TransportKind::kShm) return idle_at_bell(at_most);
  if (options_.fabric && options_.keeper == EndpointOptions::Keeper::kOn) {
    uint64_t seen = 0;  // unknown: returns at once when anything ever changed, so look first, then wait for news
    options_.fabric->wait_change(seen, Duration::zero());
    if (progress()) return;
    options_.fabric->wait_change(seen, at_most);
    return;
  }
  // Messages by MPI ring no bell and make no descriptor ready: they come only to those who look.
  if (options_.mpi) at_most = std::min<Duration>(at_most, kMixedSlice);
  env().idle(wait_handles(), at_most);
}

std::vector<WaitHandle> EndpointState::wait_handles(Whose whose) {
  std::vector<WaitHandle> handles;
  for (const auto& group : live_groups()) {
    if (whose == Whose::kCarried && !group->carried()) continue;
    const auto of_group = group->wait_handles();
    handles.insert(handles.end(), of_group.begin(), of_group.end());
  }
  return handles;
}

void EndpointState::idle_at_bell(Duration at_most) {
  const auto page = this->page();
  if (page == nullptr) return env().idle({}, std::min<Duration>(at_most, kMixedSlice));
  const int rank = options_.at.rank;
  const uint32_t seen = page->before_sleep(rank);
  if (progress()) at_most = Duration::zero();  // see Note [No lost bell]
  // A descriptor does not ring: while messages are under way, sleep is short.
  const auto handles = wait_handles();
  const bool messages = !handles.empty() || options_.fabric != nullptr || options_.mpi != nullptr;
  page->sleep(rank, seen, messages ? std::min<Duration>(at_most, kMixedSlice) : at_most);
}

Status EndpointState::close(Deadline deadline) {
  Status first;
  for (const auto& group : live_groups()) {
    if (const Status status = group->close(deadline); !status.ok() && first.ok()) first = status;
  }
  // While the keeper still watches: of a job that fails meanwhile it tells.
  if (const Status status = leave_mpi(deadline); !status.ok() && first.ok()) first = status;
  std::unique_ptr<Keeper> keeper;
  {
    const MutexLock lock(mutex_);
    keeper = std::move(keeper_);
  }
  if (keeper) {
    if (const Status status = keeper->close(deadline); !status.ok() && first.ok()) first = status;
  }
  return first;
}

/// Of a job that failed MPI cannot be finished: that waits for ranks which never come.
Status EndpointState::leave_mpi(Deadline deadline) {
  if (!options_.mpi) return {};
  const auto aborted = [page = page()] { return page != nullptr && page->abort_of(kWholeJob).has_value(); };
  const Mpi::Ending ending = aborted() ? Mpi::Ending::kAlone : Mpi::Ending::kTogether;
  Status status = options_.mpi->close(deadline, ending, aborted);
  if (status.ok()) return status;
  status = status.at({.rank = options_.at.rank, .operation = "leaving MPI"});
  if (options_.log) options_.log(LogLevel::kWarning, status.text());  // who ends seldom looks at results any more
  return status;
}

void EndpointState::abort(const std::string& reason) {
  const int me = options_.at.rank;
  const Status status(Code::kAborted, "rank " + std::to_string(me) + " aborted the job: " + reason,
                      {.rank = me, .peer = me});
  if (const auto page = this->page()) {
    page->post_abort({.group = kWholeJob,
                      .generation = options_.generation,
                      .code = status.code(),
                      .culprit = me,
                      .reporter = me,
                      .text = status.message()});
  }
  for (const auto& group : live_groups()) group->end(status, me);
}

Result<Endpoint> Endpoint::create(EndpointOptions options) {
  const Where where{.rank = options.at.rank, .operation = "endpoint creation"};
  if (options.env == nullptr || options.store == nullptr) {
    return Status(Code::kInvalidArgument, "an endpoint needs an env and a store", where);
  }
  if (options.at.world_size < 1 || options.at.rank < 0 || options.at.rank >= options.at.world_size) {
    return Status(Code::kInvalidArgument,
                  "rank " + std::to_string(options.at.rank) + " is not in [0, " +
                      std::to_string(options.at.world_size) + "): ranks count from 0 to world size - 1",
                  where);
  }
  if (options.transport == TransportKind::kMpi && options.mpi == nullptr) {
    return Status(Code::kInvalidArgument, "transport mpi needs the MPI library of this process", where);
  }
  if (options.transport == TransportKind::kInproc && options.fabric == nullptr) {
    return Status(Code::kInvalidArgument, "transport inproc needs the fabric that the fake ranks share", where);
  }
  auto state = std::make_shared<EndpointState>(std::move(options));
  RONDO_TRY(state->open());
  return Endpoint(std::move(state));
}

Position Endpoint::at() const { return state_->options().at; }
Env& Endpoint::env() const { return state_->env(); }
Status Endpoint::close(Deadline deadline) { return state_->close(deadline); }
void Endpoint::abort(const std::string& reason) { state_->abort(reason); }

}  // namespace rondo::comm
