/// The part of a group that sends and receives between two of its ranks: its channels.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "comm/group/group_state.h"

namespace rondo::comm {
namespace {

// A rank that leaves has flushed what it sent before; this long that may take to be seen here.
constexpr auto kArrivalGrace = std::chrono::milliseconds(50);
// Colors of split() are 0 or more, so no other group has such an id.
constexpr int kChannelColor = -2;

}  // namespace

Result<std::shared_ptr<GroupState>> GroupState::channel(Way way) {
  if (!live()) {
    const MutexLock lock(mutex_);
    return ended_;
  }
  const MutexLock lock(channels_mutex_);
  if (const auto found = channels_.find(way); found != channels_.end()) return found->second;
  const int ends[] = {way.from, way.to};
  GroupIdentity channel{.fate = identity_.id,
                        .options = {.name = identity_.options.name + ", rank " + std::to_string(job_rank(way.from)) +
                                            " to rank " + std::to_string(job_rank(way.to)),
                                    .operation_timeout = identity_.options.operation_timeout,
                                    .segment_bytes = identity_.options.segment_bytes},
                        .at = {.rank = way.from == identity_.at.rank ? 0 : 1, .world_size = 2}};
  for (const int end : ends) {
    channel.job_ranks.push_back(job_rank(end));
    if (!identity_.host_of_rank.empty())
      channel.host_of_rank.push_back(identity_.host_of_rank[static_cast<size_t>(end)]);
  }
  channel.id = derive_group_id(identity_.id, 0, kChannelColor, channel.options.name);
  auto made = create(endpoint_, std::move(channel));
  RONDO_TRY(made);
  return channels_[way] = std::move(*made);
}

Status GroupState::close_channels(Deadline deadline) {
  std::vector<std::shared_ptr<GroupState>> channels;
  {
    const MutexLock lock(channels_mutex_);
    for (const auto& [way, channel] : channels_) channels.push_back(channel);
  }
  Status first;
  for (const auto& channel : channels) {
    if (Status closed = channel->close(deadline); !closed.ok() && first.ok()) first = std::move(closed);
  }
  return first;
}

bool GroupState::left_alone(TimePoint now) {
  const int other = job_rank(1 - identity_.at.rank);
  if (page_ == nullptr || page_->membership(other) != Membership::kLeft) return false;
  if (!alone_since_) alone_since_ = now;
  return now - *alone_since_ >= kArrivalGrace;
}

}  // namespace rondo::comm
