#include "comm/group/formation.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <sstream>
#include <utility>

#include "comm/memory/limits.h"
#include "comm/transport/cpu_share.h"

namespace rondo::comm {
namespace {

// What a rank publishes when it has no address: fake ranks find each other in their fabric.
constexpr const char* kNoAddress = "inproc";

/// What a rank tells the others: "ADDRESS MAILBOX", "-" for no mailbox, and " probe" if it wishes to time links.
struct Presence {
  std::string address;
  std::string mailbox;
  bool probes = false;

  std::string encode() const { return address + " " + (mailbox.empty() ? "-" : mailbox) + (probes ? " probe" : ""); }
  static Presence decode(const std::string& text) {
    std::istringstream words(text);
    Presence told;
    std::string wish;
    words >> told.address >> told.mailbox >> wish;
    if (told.mailbox == "-") told.mailbox.clear();
    told.probes = wish == "probe";
    return told;
  }
};

/// Timing says something only where ranks need not take turns, and nothing where they are fake.
bool wishes_to_probe(const EndpointState& endpoint) {
  const EndpointOptions& options = endpoint.options();
  if (options.at.world_size < 2 || endpoint.measured()) return false;
  if (options.probe != EndpointOptions::Probe::kAuto) return options.probe == EndpointOptions::Probe::kAlways;
  if (options.fabric || options.keeper == EndpointOptions::Keeper::kOff) return false;
  const CpuShare own = own_cpu_share(system_files());
  const auto processors = static_cast<int64_t>(::sysconf(_SC_NPROCESSORS_ONLN));  // not only those of this rank
  const int64_t usable = own.quota == 0 ? processors : std::min<int64_t>(processors, own.quota);
  return options.at.world_size <= usable;
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
  const EndpointOptions& endpoint = endpoint_->options();
  const Position at = endpoint.at;
  if (const auto page = endpoint_->page(); page && step_ != Step::kDone && step_ != Step::kFailed) {
    // An abort of this group alone is for those who are in it; but where the job ends, its reason is the better one.
    if (page->abort_of(kWholeJob)) {
      const auto why = page->abort_of(group_id());
      return fail(Status(why->code, why->text, {.peer = why->culprit}));
    }
  }
  switch (step_) {
    case Step::kPublish: {
      // First of all: a rank that is here is never called absent, whatever it waits for.
      if (!call_) {
        Presence own{.address = endpoint_->port() ? endpoint_->port()->address().text : kNoAddress};
        if (endpoint_->post()) own.mailbox = endpoint_->post()->mailbox();
        own.probes = at.rank == 0 && wishes_to_probe(*endpoint_);
        call_ =
            endpoint.store->start({.kind = StoreRequest::Kind::kSet, .keys = {key(at.rank)}, .value = own.encode()});
      }
      const Progress progress = call_->advance(now);
      if (progress == Progress::kFailed) return fail(call_->status());
      if (progress != Progress::kDone) return progress;
      step_ = Step::kPage;
      return Progress::kProgressed;
    }
    case Step::kPage: {
      if (!page_share_ && endpoint_->page() == nullptr) {
        if (endpoint.fabric) {
          if (const Status status = endpoint_->install_page(endpoint.fabric->page()); !status.ok()) return fail(status);
        } else {
          page_share_ = std::make_unique<PageShare>(
              endpoint.env, endpoint.store,
              PageShareOptions{.rank = at.rank, .world_size = at.world_size, .generation = endpoint.generation});
        }
      }
      if (page_share_) {
        const Progress progress = page_share_->advance(now);
        // The keeper starts as soon as there is a page, so that a death or a verdict ends this wait too.
        if (const auto page = page_share_->page(); page && endpoint_->page() == nullptr) {
          if (const Status status = endpoint_->install_page(page); !status.ok()) return fail(status);
        }
        if (progress == Progress::kFailed) return fail(page_share_->status());
        if (progress != Progress::kDone) return progress;
      }
      StoreRequest request{.kind = StoreRequest::Kind::kGet};
      for (int rank = 0; rank < at.world_size; ++rank) request.keys.push_back(key(rank));
      call_ = endpoint.store->start(std::move(request));
      step_ = Step::kGather;
      return Progress::kProgressed;
    }
    case Step::kGather: {
      const Progress progress = call_->advance(now);
      if (progress == Progress::kFailed) return fail(call_->status());
      if (progress != Progress::kDone) return progress;
      step_ = Step::kEnter;
      return Progress::kProgressed;
    }
    case Step::kEnter: {
      // A rank that dies before its keeper holds its mutex would be missed by everyone.
      if (!outside_page().empty()) return Progress::kBlocked;
      GroupIdentity identity{.id = group_id(), .options = options_, .at = at};
      std::vector<std::string> mailboxes;
      for (int rank = 0; rank < at.world_size; ++rank) {
        Presence told = Presence::decode(call_->values()[static_cast<size_t>(rank)]);
        identity.job_ranks.push_back(rank);
        identity.addresses.push_back({std::move(told.address)});
        mailboxes.push_back(std::move(told.mailbox));
        if (rank == 0) probes_ = told.probes;
      }
      endpoint_->set_mailboxes(std::move(mailboxes));
      auto group = GroupState::create(endpoint_, std::move(identity));
      if (!group.ok()) return fail(group.status());
      group_ = std::move(*group);
      if (const auto& recorder = endpoint.flight) recorder->formed();
      step_ = Step::kDone;
      return Progress::kDone;
    }
    case Step::kDone:
      return Progress::kDone;
    case Step::kFailed:
      return Progress::kFailed;
  }
  return Progress::kFailed;
}

std::vector<int> GroupFormation::outside_page() const {
  const auto page = endpoint_->page();
  std::vector<int> outside;
  if (!page || endpoint_->options().keeper == EndpointOptions::Keeper::kOff) return outside;
  for (int rank = 0; rank < page->rank_count(); ++rank)
    if (page->membership(rank) == Membership::kAbsent) outside.push_back(rank);
  return outside;
}

std::vector<WaitHandle> GroupFormation::wait_handles() const {
  if (step_ == Step::kPage) return page_share_ ? page_share_->wait_handles() : std::vector<WaitHandle>();
  return call_ ? call_->wait_handles() : std::vector<WaitHandle>();
}

std::vector<int> GroupFormation::unpublished() {
  const EndpointOptions& endpoint = endpoint_->options();
  Env& env = *endpoint.env;
  StoreRequest request{.kind = StoreRequest::Kind::kCheck};
  for (int rank = 0; rank < endpoint.at.world_size; ++rank) request.keys.push_back(key(rank));
  const auto check = endpoint.store->start(std::move(request));
  const Deadline deadline{env.now() + std::chrono::seconds(1)};
  Progress progress = Progress::kProgressed;
  while (progress != Progress::kDone && progress != Progress::kFailed && !deadline.passed(env.now())) {
    progress = check->advance(env.now());
    if (progress == Progress::kBlocked) env.idle(check->wait_handles(), std::chrono::milliseconds(5));
  }
  std::vector<int> absent;
  for (size_t rank = 0; progress == Progress::kDone && rank < check->values().size(); ++rank) {
    if (check->values()[rank] != "1") absent.push_back(static_cast<int>(rank));
  }
  return absent;
}

Status GroupFormation::timed_out(Duration waited) {
  const EndpointOptions& endpoint = endpoint_->options();
  std::string absent;
  std::vector<int> missing = unpublished();
  const bool at_page = missing.empty() && ((step_ == Step::kPage && page_share_) || step_ == Step::kEnter);
  if (at_page) missing = step_ == Step::kEnter ? outside_page() : page_share_->absent();
  for (const int rank : missing) {
    absent += (absent.empty() ? "" : ", ") + std::to_string(rank);
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(waited).count();
  const std::string who =
      absent.empty() ? "some rank is" : "rank " + absent + (absent.find(',') == std::string::npos ? " is" : " are");
  Status late(
      Code::kTimeout,
      "group \"" + options_.name + "\" of " + std::to_string(endpoint.at.world_size) + " ranks did not form in " +
          std::to_string(seconds) + " s: " + who +
          (at_page ? " stuck or dead: it came, but did not get as far as the job page"
                   : " absent. Likely it was never started, died early, or cannot reach the store"),
      {.rank = endpoint.at.rank, .peer = missing.empty() ? -1 : missing.front(), .operation = "group creation"});
  tell(late);
  return late;
}

}  // namespace rondo::comm
