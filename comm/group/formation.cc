#include "comm/group/formation.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <set>
#include <utility>

#include "comm/transport/cpu_share.h"
#include "rondo/comm/cgroups.h"

namespace rondo::comm {
namespace {

/// Timing says something only where ranks need not take turns, and nothing where they are fake.
bool wishes_to_probe(const EndpointState& endpoint) {
  const EndpointOptions& options = endpoint.options();
  if (options.at.world_size < 2 || endpoint.measured()) return false;
  if (options.probe != EndpointOptions::Probe::kAuto) return options.probe == EndpointOptions::Probe::kAlways;
  if (options.fabric || options.keeper == EndpointOptions::Keeper::kOff) return false;
  if (!options.host.empty()) return true;  // see all_on_hosts_of_their_own()
  const CpuShare own = own_cpu_share(system_files());
  const auto processors = static_cast<int64_t>(::sysconf(_SC_NPROCESSORS_ONLN));  // not only those of this rank
  const int64_t usable = own.quota == 0 ? processors : std::min<int64_t>(processors, own.quota);
  return options.at.world_size <= usable;
}

/// Links inside a host and between hosts cost differently: what ranks 0 and 1 measure is then no rule for all.
bool all_on_hosts_of_their_own(const std::vector<Contact>& contacts) {
  std::set<std::string> hosts;
  for (const Contact& contact : contacts) hosts.insert(contact.host);
  return hosts.size() == contacts.size();
}

}  // namespace

GroupFormation::GroupFormation(std::shared_ptr<EndpointState> endpoint, GroupOptions options)
    : endpoint_(std::move(endpoint)), options_(std::move(options)), nth_(endpoint_->next_creation(options_.name)) {
  if (const auto& recorder = endpoint_->options().flight) recorder->forming(options_.name, endpoint_->env().now());
}

std::string GroupFormation::key(int rank) const {
  return "group/" + std::to_string(endpoint_->options().generation) + "/" + options_.name + "/" + std::to_string(nth_) +
         "/address/" + std::to_string(rank);
}

Progress GroupFormation::fail(const Status& why) {
  step_ = Step::kFailed;
  status_ = why.at({.rank = endpoint_->options().at.rank, .operation = "group creation"});
  tell(status_);
  return Progress::kFailed;
}

void GroupFormation::tell(const Status& why) {
  const EndpointOptions& endpoint = endpoint_->options();
  if (endpoint.flight)
    endpoint.flight->ended({.code = why.code(),
                            .culprit = why.where().peer,
                            .reporter = why.where().rank,
                            .at_ns = flight_time(endpoint_->env().now()),
                            .text = why.message()});
  const auto page = endpoint_->page();
  if (!page) return;
  page->post_abort({.group = group_id(),
                    .generation = endpoint.generation,
                    .code = why.code(),
                    .culprit = why.where().peer,
                    .reporter = endpoint.at.rank,
                    .text = why.message()});
  if (endpoint.fabric) endpoint.fabric->notify();
}

// A name that is used again is another group: with links, aborts and flight records of its own.
uint64_t GroupFormation::group_id() const {
  const uint64_t count = uint64_t{endpoint_->options().generation} << 32 | static_cast<uint32_t>(nth_);
  return derive_group_id(kWholeJob, count, 0, options_.name);
}

Progress GroupFormation::advance(TimePoint now) {
  if (const auto page = endpoint_->page(); page && step_ != Step::kDone && step_ != Step::kFailed) {
    // An abort of this group alone is for those who are in it; but where the job ends, its reason is the better one.
    if (page->abort_of(kWholeJob)) {
      const auto why = page->abort_of(group_id());
      return fail(Status(why->code, why->text, {.peer = why->culprit}));
    }
  }
  switch (step_) {
    case Step::kPublish:
      return publish(now);
    case Step::kPage:
      return share_page(now);
    case Step::kGather:
      return gather(now);
    case Step::kEnter:
      return enter();
    case Step::kDone:
      return Progress::kDone;
    case Step::kFailed:
      return Progress::kFailed;
  }
  return Progress::kFailed;
}

Progress GroupFormation::publish(TimePoint now) {
  const EndpointOptions& endpoint = endpoint_->options();
  // First of all: a rank that is here is never called absent, whatever it waits for.
  if (!call_) {
    Contact own = endpoint_->own_contact();
    own.probes = endpoint.at.rank == 0 && wishes_to_probe(*endpoint_);
    call_ = endpoint.store->start(
        {.kind = StoreRequest::Kind::kSet, .keys = {key(endpoint.at.rank)}, .value = encode(own)});
  }
  const Progress progress = call_->advance(now);
  if (progress == Progress::kFailed) return fail(call_->status());
  if (progress != Progress::kDone) return progress;
  call_.reset();
  step_ = on_one_host() ? Step::kPage : Step::kGather;
  return Progress::kProgressed;
}

Progress GroupFormation::share_page(TimePoint now) {
  const EndpointOptions& endpoint = endpoint_->options();
  if (!page_share_ && endpoint_->page() == nullptr) {
    if (endpoint.fabric) {
      const Status status = endpoint_->install_page(endpoint.fabric->page());
      if (!status.ok()) return fail(status);
    } else {
      page_share_ = std::make_unique<PageShare>(endpoint.env, endpoint.store,
                                                PageShareOptions{.rank = endpoint.at.rank,
                                                                 .world_size = endpoint.at.world_size,
                                                                 .generation = endpoint.generation,
                                                                 .local_ranks = local_ranks_});
    }
  }
  if (page_share_) {
    const Progress progress = page_share_->advance(now);
    // The keeper starts as soon as there is a page, so that a death or a verdict ends this wait too.
    if (const auto page = page_share_->page(); page && endpoint_->page() == nullptr) {
      if (const Status status = endpoint_->install_page(page, local_ranks_); !status.ok()) return fail(status);
    }
    if (progress == Progress::kFailed) return fail(page_share_->status());
    if (progress != Progress::kDone) return progress;
  }
  step_ = on_one_host() ? Step::kGather : Step::kEnter;
  return Progress::kProgressed;
}

Progress GroupFormation::gather(TimePoint now) {
  const EndpointOptions& endpoint = endpoint_->options();
  if (!call_) {
    StoreRequest request{.kind = StoreRequest::Kind::kGet};
    for (int rank = 0; rank < endpoint.at.world_size; ++rank) request.keys.push_back(key(rank));
    call_ = endpoint.store->start(std::move(request));
  }
  const Progress progress = call_->advance(now);
  if (progress == Progress::kFailed) return fail(call_->status());
  if (progress != Progress::kDone) return progress;
  std::vector<Contact> contacts;
  for (int rank = 0; rank < endpoint.at.world_size; ++rank) {
    auto contact = decode_contact(call_->values()[static_cast<size_t>(rank)]);
    if (!contact.ok()) return fail(contact.status().at({.peer = rank}));
    if (contact->host.empty() != on_one_host())
      return fail(Status(Code::kMismatch,
                         "rank " + std::to_string(on_one_host() ? endpoint.at.rank : rank) +
                             " takes all ranks to be on its own host, rank " +
                             std::to_string(on_one_host() ? rank : endpoint.at.rank) +
                             " does not: set LOCAL_WORLD_SIZE rightly, and RONDO_HOST_ID on every rank or on none",
                         {.peer = rank}));
    if (!on_one_host() && contact->host == endpoint.host) local_ranks_.push_back(rank);
    contacts.push_back(std::move(*contact));
  }
  probes_ = contacts.front().probes && (on_one_host() || all_on_hosts_of_their_own(contacts));
  endpoint_->set_contacts(std::move(contacts));
  call_.reset();
  step_ = on_one_host() ? Step::kEnter : Step::kPage;
  return Progress::kProgressed;
}

Progress GroupFormation::enter() {
  // A rank that dies before its keeper holds its mutex would be missed by everyone.
  if (!outside_page().empty()) return Progress::kBlocked;
  // The same for other hosts, whose relays must be there to tell.
  if (!endpoint_->unmet_relays().empty()) return Progress::kBlocked;
  GroupIdentity identity{.id = group_id(), .options = options_, .at = endpoint_->options().at};
  for (int rank = 0; rank < identity.at.world_size; ++rank) identity.job_ranks.push_back(rank);
  auto group = GroupState::create(endpoint_, std::move(identity));
  if (!group.ok()) return fail(group.status());
  group_ = std::move(*group);
  if (const auto& recorder = endpoint_->options().flight) recorder->formed();
  step_ = Step::kDone;
  return Progress::kDone;
}

std::vector<int> GroupFormation::outside_page() const {
  const auto page = endpoint_->page();
  std::vector<int> outside;
  if (!page || endpoint_->options().keeper == EndpointOptions::Keeper::kOff) return outside;
  std::vector<int> ranks = local_ranks_;
  for (int rank = 0; local_ranks_.empty() && rank < page->rank_count(); ++rank) ranks.push_back(rank);
  for (const int rank : ranks)
    if (page->membership(rank) == Membership::kAbsent) outside.push_back(rank);
  return outside;
}

std::vector<WaitHandle> GroupFormation::wait_handles() const {
  if (step_ == Step::kPage) return page_share_ ? page_share_->wait_handles() : std::vector<WaitHandle>();
  return call_ ? call_->wait_handles() : std::vector<WaitHandle>();
}

Result<std::vector<int>> GroupFormation::unpublished() {
  const EndpointOptions& endpoint = endpoint_->options();
  Env& env = *endpoint.env;
  StoreRequest request{.kind = StoreRequest::Kind::kCheck};
  for (int rank = 0; rank < endpoint.at.world_size; ++rank) request.keys.push_back(key(rank));
  const auto check = endpoint.store->start(std::move(request));
  const Deadline deadline{env.now() + std::chrono::seconds(1)};
  Progress progress = Progress::kProgressed;
  while (progress != Progress::kDone) {
    progress = check->advance(env.now());
    if (progress == Progress::kFailed) return check->status();
    if (deadline.passed(env.now())) return Status(Code::kTimeout, "the store does not answer");
    if (progress == Progress::kBlocked) env.idle(check->wait_handles(), std::chrono::milliseconds(5));
  }
  std::vector<int> absent;
  for (size_t rank = 0; rank < check->values().size(); ++rank) {
    if (check->values()[rank] != "1") absent.push_back(static_cast<int>(rank));
  }
  return absent;
}

GroupFormation::Absence GroupFormation::absence() {
  const auto absent = unpublished();
  if (!absent.ok())
    return {.text = "who is absent is unknown: " + absent.status().message(), .peer = absent.status().where().peer};
  std::vector<int> missing = *absent;
  std::string what = " absent. Likely it was never started, died early, or cannot reach the store";
  if (missing.empty()) {
    what = " stuck or dead: it came, but did not get as far as the job page";
    if (step_ == Step::kPage && page_share_) missing = page_share_->absent();
    if (step_ == Step::kEnter) missing = outside_page();
    if (step_ == Step::kEnter && missing.empty()) {
      missing = endpoint_->unmet_relays();
      what = " on another host and was not heard of: it is stuck or dead, or the network between is";
    }
  }
  if (missing.empty()) return {.text = "all ranks came, the last of them too late", .peer = -1};
  std::string who = "rank ";
  for (const int rank : missing) who += (rank == missing.front() ? "" : ", ") + std::to_string(rank);
  return {.text = who + (missing.size() == 1 ? " is" : " are") + what, .peer = missing.front()};
}

Status GroupFormation::timed_out(Duration waited) {
  const EndpointOptions& endpoint = endpoint_->options();
  // A rank that gave up before this one knew why, and may have taken the store with it.
  const auto page = endpoint_->page();
  if (const auto why = page ? page->abort_of(group_id()) : std::nullopt) {
    return {why->code,
            why->text + " (said by rank " + std::to_string(why->reporter) + ")",
            {.rank = endpoint.at.rank, .peer = why->culprit, .operation = "group creation"}};
  }
  const Absence absence = this->absence();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(waited).count();
  Status late(Code::kTimeout,
              "group \"" + options_.name + "\" of " + std::to_string(endpoint.at.world_size) +
                  " ranks did not form in " + std::to_string(seconds) + " s: " + absence.text,
              {.rank = endpoint.at.rank, .peer = absence.peer, .operation = "group creation"});
  tell(late);
  return late;
}

}  // namespace rondo::comm
