/// send and receive: a broadcast among two, over the channel from one rank to the other.
#include <string>
#include <utility>

#include "comm/collective/collective_state.h"
#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {
namespace {

struct Transfer {
  BufferView buffer;
  int peer = 0;
  End end = End::kSender;
  CallOptions options;
};

Work transfer(const Group& group, Transfer request) {
  if (!group.joined()) {
    return Work::finished(Status(Code::kInvalidArgument, "this rank is not a member of the group"));
  }
  GroupState& state = *group.state();
  const bool sends = request.end == End::kSender;
  Where where{
      .rank = state.job_rank(group.rank()), .operation = sends ? "send" : "receive", .tag = request.options.tag};
  const bool is_rank = request.peer >= 0 && request.peer < group.world_size();
  if (!is_rank || request.peer == group.rank()) {
    return Work::finished(Status(Code::kInvalidArgument,
                                 "rank " + std::to_string(request.peer) +
                                     (is_rank ? " is this rank itself" : " is not a rank of group \"") +
                                     (is_rank ? "" : group.name() + "\" of " + std::to_string(group.world_size())),
                                 std::move(where)));
  }
  const Way way = sends ? Way{group.rank(), request.peer} : Way{request.peer, group.rank()};
  auto channel = state.channel(way);
  if (!channel.ok()) {
    where.peer = state.job_rank(request.peer);
    return Work::finished(channel.status().at(where));
  }
  Group ends(std::move(*channel));
  return launch(ends, {.kind = CollectiveKind::kSend,
                       .data = request.buffer,
                       .root = 0,
                       .options = std::move(request.options),
                       .end = request.end});
}

}  // namespace

Work send(Group& group, BufferView buffer, Peer to, CallOptions options) {
  return transfer(group, {buffer, to.rank, End::kSender, std::move(options)});
}

Work receive(Group& group, BufferView buffer, Peer from, CallOptions options) {
  return transfer(group, {buffer, from.rank, End::kReceiver, std::move(options)});
}

}  // namespace rondo::comm
