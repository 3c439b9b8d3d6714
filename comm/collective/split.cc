/// Group::split: every rank says color and key, and each computes the members of its own new group from that.
#include <algorithm>
#include <array>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {

Result<Group> Group::split(SplitOptions request, Deadline deadline) {
  if (!joined()) return Status(Code::kInvalidArgument, "this rank is not a member of the group");
  const Where where{.rank = state_->job_rank(rank()), .operation = "split"};
  if (request.color < -1) {
    return Status(Code::kInvalidArgument,
                  "color " + std::to_string(request.color) + " is not allowed: 0 or more, or -1 to join no group",
                  where);
  }
  if (request.options.name == name()) {
    return Status(Code::kInvalidArgument, "the new group needs a name of its own, not \"" + name() + "\"", where);
  }
  std::array<int64_t, 2> mine{request.color, request.key};
  std::vector<int64_t> all(2 * static_cast<size_t>(world_size()));
  Work gather = all_gather(*this, view(mine), view(all), {.tag = "split into " + request.options.name});
  if (const Status status = gather.wait(deadline); !status.ok()) {
    if (!status.is_pending()) return status.at(where);
    return Status(Code::kTimeout, "not every rank of group \"" + name() + "\" called split", where);
  }
  const uint64_t count = state_->next_split();
  if (request.color == -1) return Group();

  std::vector<std::tuple<int64_t, int>> members;  // (key, old rank), sorted
  for (int old = 0; old < world_size(); ++old) {
    if (all[2 * static_cast<size_t>(old)] == request.color)
      members.emplace_back(all[2 * static_cast<size_t>(old) + 1], old);
  }
  std::sort(members.begin(), members.end());
  const GroupIdentity& parent = state_->identity();
  GroupIdentity identity{.id = derive_group_id(parent.id, count, request.color, request.options.name),
                         .options = std::move(request.options)};
  identity.at.world_size = static_cast<int>(members.size());
  for (const auto& [key, old] : members) {
    if (old == rank()) identity.at.rank = static_cast<int>(identity.job_ranks.size());
    identity.job_ranks.push_back(parent.job_ranks[static_cast<size_t>(old)]);
    identity.addresses.push_back(parent.addresses[static_cast<size_t>(old)]);
  }
  auto state = GroupState::create(state_->shared_endpoint(), std::move(identity));
  RONDO_TRY(state);
  return Group(std::move(*state));
}

}  // namespace rondo::comm
