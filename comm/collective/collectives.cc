#include "rondo/comm/collectives.h"

#include <cstring>
#include <utility>

#include "comm/collective/collective_state.h"

namespace rondo::comm {

Work all_reduce(Group& group, BufferView buffer, ReduceOp op, CallOptions options) {
  return launch(group, {.kind = CollectiveKind::kAllReduce, .data = buffer, .op = op, .options = std::move(options)});
}

Work broadcast(Group& group, BufferView buffer, Root root, CallOptions options) {
  return launch(group,
                {.kind = CollectiveKind::kBroadcast, .data = buffer, .root = root.rank, .options = std::move(options)});
}

Work all_gather(Group& group, BufferView input, BufferView output, CallOptions options) {
  if (!group.joined()) {
    return Work::finished(Status(Code::kInvalidArgument, "this rank is not a member of the group"));
  }
  const Where where{.rank = group.state()->job_rank(group.rank()), .operation = "all_gather", .tag = options.tag};
  if (output.dtype != input.dtype || output.element_count != input.element_count * group.world_size()) {
    return Work::finished(Status(Code::kInvalidArgument,
                                 "the output must hold " + std::to_string(group.world_size()) + " x " +
                                     std::to_string(input.element_count) + " " + std::string(name(input.dtype)) +
                                     ", but holds " + std::to_string(output.element_count) + " " +
                                     std::string(name(output.dtype)),
                                 where));
  }
  if (input.element_count > 0 && (input.data == nullptr || output.data == nullptr)) {
    return Work::finished(Status(Code::kInvalidArgument, "a buffer is null", where));
  }
  if (input.element_count > 0) {
    std::byte* block = output.bytes() + input.byte_count() * static_cast<size_t>(group.rank());
    if (block != input.bytes()) std::memmove(block, input.bytes(), input.byte_count());
  }
  return launch(group, {.kind = CollectiveKind::kAllGather, .data = output, .options = std::move(options)});
}

Work barrier(Group& group, CallOptions options) {
  // One byte around the ring: its sum needs every rank, and every rank needs its sum.
  std::vector<std::byte> storage(1);
  const BufferView byte{storage.data(), 1, DType::kUInt8};  // stays valid: a moved vector keeps its memory
  return launch(group, {.kind = CollectiveKind::kBarrier,
                        .data = byte,
                        .op = ReduceOp::kBitOr,
                        .options = std::move(options),
                        .storage = std::move(storage)});
}

}  // namespace rondo::comm
