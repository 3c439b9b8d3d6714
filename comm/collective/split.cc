#include <algorithm>
#include <tuple>
#include <utility>

#include "comm/collective/group_split.h"
#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {

GroupSplit::GroupSplit(Group& parent, SplitOptions options) : parent_(parent), options_(std::move(options)) {
  status_ = check();
  if (!status_.ok()) return;
  mine_ = {options_.color, options_.key};
  all_.resize(2 * static_cast<size_t>(parent_.world_size()));
  gathering_ = all_gather(parent_, view(mine_), view(all_), {.tag = "split into " + options_.options.name});
}

Where GroupSplit::where() const { return {.rank = parent_.state()->job_rank(parent_.rank()), .operation = "split"}; }

Status GroupSplit::check() const {
  if (!parent_.joined()) return {Code::kInvalidArgument, "this rank is not a member of the group"};
  if (options_.color < -1) {
    return {Code::kInvalidArgument,
            "color " + std::to_string(options_.color) + " is not allowed: 0 or more, or -1 to join no group", where()};
  }
  if (options_.options.name == parent_.name()) {
    return {Code::kInvalidArgument, "the new group needs a name of its own, not \"" + parent_.name() + "\"", where()};
  }
  return {};
}

Progress GroupSplit::advance() {
  if (!status_.ok()) return Progress::kFailed;
  if (done_) return Progress::kDone;
  if (!gathering_.done()) {
    const bool moved = parent_.state()->endpoint().progress();
    if (!gathering_.done()) return moved ? Progress::kProgressed : Progress::kBlocked;
  }
  status_ = finish();
  done_ = status_.ok();
  return done_ ? Progress::kDone : Progress::kFailed;
}

Status GroupSplit::finish() {
  if (const Status gathered = gathering_.status(); !gathered.ok()) return gathered.at(where());
  const uint64_t count = parent_.state()->next_split();
  if (options_.color == -1) return {};

  std::vector<std::tuple<int64_t, int>> members;  // (key, old rank), sorted
  for (int old = 0; old < parent_.world_size(); ++old) {
    if (all_[2 * static_cast<size_t>(old)] == options_.color)
      members.emplace_back(all_[2 * static_cast<size_t>(old) + 1], old);
  }
  std::sort(members.begin(), members.end());
  const GroupIdentity& parent = parent_.state()->identity();
  GroupIdentity identity{.id = derive_group_id(parent.id, count, options_.color, options_.options.name),
                         .options = options_.options};
  identity.at.world_size = static_cast<int>(members.size());
  for (const auto& [key, old] : members) {
    if (old == parent_.rank()) identity.at.rank = static_cast<int>(identity.job_ranks.size());
    identity.job_ranks.push_back(parent.job_ranks[static_cast<size_t>(old)]);
  }
  auto state = GroupState::create(parent_.state()->shared_endpoint(), std::move(identity));
  RONDO_TRY(state);
  group_ = Group(std::move(*state));
  return {};
}

Result<Group> Group::split(SplitOptions request, Deadline deadline) {
  GroupSplit split(*this, std::move(request));
  if (split.gathering().wait(deadline).is_pending()) {
    return Status(Code::kTimeout, "not every rank of group \"" + name() + "\" called split",
                  {.rank = state_->job_rank(rank()), .operation = "split"});
  }
  return split.advance() == Progress::kDone ? Result<Group>(split.take()) : split.status();
}

}  // namespace rondo::comm
