/// How the ranks of a job become a group: publish how each is reached, share the job page, read how all are reached. A
/// state machine, so that thousands of fake ranks can form a group in one thread and in simulated time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/group/endpoint_state.h"
#include "comm/group/group_state.h"
#include "comm/watch/page_share.h"
#include "rondo/comm/group.h"

namespace rondo::comm {

class GroupFormation {
 public:
  GroupFormation(std::shared_ptr<EndpointState> endpoint, GroupOptions options);

  Progress advance(TimePoint now);
  Status status() const { return status_; }
  /// After kDone.
  Group take() { return Group(std::move(group_)); }
  /// After kDone: rank 0 wishes to time links before this group is handed out. Equal on all ranks.
  bool probes() const { return probes_; }
  std::vector<WaitHandle> wait_handles() const;

  /// Names the ranks that have not published themselves; blocks for at most a second.
  Status timed_out(Duration waited);

 private:
  enum class Step : uint8_t { kPublish, kPage, kGather, kEnter, kDone, kFailed };
  /// On one host the page comes first, so that a keeper watches the rest; else the page waits for who is on this host.
  bool on_one_host() const { return endpoint_->options().host.empty(); }
  Progress publish(TimePoint now);
  Progress share_page(TimePoint now);
  Progress gather(TimePoint now);
  Progress enter();
  Progress fail(const Status& why);
  /// Writes the failure into the flight record, and into the page for those who already are in this group.
  void tell(const Status& why);
  uint64_t group_id() const;
  /// The ranks of this host whose keepers are not on the page yet. Without a keeper of its own a rank asks for none.
  std::vector<int> outside_page() const;
  /// Who keeps the group from forming, as far as this rank can find out.
  struct Absence {
    std::string text;
    int peer = -1;
  };
  Absence absence();
  /// Asks the store, for at most a second.
  Result<std::vector<int>> unpublished();
  std::string key(int rank) const;

  const std::shared_ptr<EndpointState> endpoint_;
  const GroupOptions options_;
  const int nth_;  // group of this name on this endpoint: a name may be used again
  Step step_ = Step::kPublish;
  Status status_;
  std::unique_ptr<PageShare> page_share_;
  std::unique_ptr<StoreCall> call_;
  std::vector<int> local_ranks_;  // of this host; empty: all, or not known yet
  std::shared_ptr<GroupState> group_;
  bool probes_ = false;
};

}  // namespace rondo::comm
