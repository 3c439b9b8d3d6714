#include "rondo/comm/collectives.h"

#include <cstring>
#include <utility>

#include "comm/collective/collective_state.h"

namespace rondo::comm {
namespace {

Work refuse(const Group& group, const char* operation, const CallOptions& options, std::string why) {
  if (!group.joined()) {
    return Work::finished(Status(Code::kInvalidArgument, "this rank is not a member of the group"));
  }
  return Work::finished(
      Status(Code::kInvalidArgument, std::move(why),
             {.rank = group.state()->job_rank(group.rank()), .operation = operation, .tag = options.tag}));
}

/// "the output must hold 3 x 5 float32, but holds 7 float64".
std::string shape_of(const char* which, const Group& group, const BufferView& block, const BufferView& whole) {
  return std::string("the ") + which + " must hold " + std::to_string(group.world_size()) + " x " +
         std::to_string(block.element_count) + " " + std::string(name(block.dtype)) + ", but holds " +
         std::to_string(whole.element_count) + " " + std::string(name(whole.dtype));
}

}  // namespace

Work all_reduce(Group& group, BufferView buffer, ReduceOp op, CallOptions options) {
  return launch(group, {.kind = CollectiveKind::kAllReduce, .data = buffer, .op = op, .options = std::move(options)});
}

Work all_reduce(Group& group, BufferView input, BufferView output, ReduceOp op, CallOptions options) {
  if (input.dtype != output.dtype || input.element_count != output.element_count) {
    return refuse(group, "all_reduce", options, "the output must have the element type and count of the input");
  }
  if (input.element_count > 0 && (input.data == nullptr || output.data == nullptr)) {
    return refuse(group, "all_reduce", options, "a buffer is null");
  }
  if (input.element_count > 0 && input.data != output.data) {
    std::memcpy(output.data, input.data, input.byte_count());
  }
  return all_reduce(group, output, op, std::move(options));
}

Work reduce_scatter(Group& group, BufferView input, BufferView output, ReduceOp op, CallOptions options) {
  if (!group.joined()) return refuse(group, "reduce_scatter", options, "");
  if (output.dtype != input.dtype || input.element_count != output.element_count * group.world_size()) {
    return refuse(group, "reduce_scatter", options, shape_of("input", group, output, input));
  }
  if (output.element_count > 0 && output.data == nullptr) {
    return refuse(group, "reduce_scatter", options, "a buffer is null");
  }
  return launch(group, {.kind = CollectiveKind::kReduceScatter,
                        .data = input,
                        .output = output,
                        .op = op,
                        .options = std::move(options)});
}

Work broadcast(Group& group, BufferView buffer, Root root, CallOptions options) {
  return launch(group,
                {.kind = CollectiveKind::kBroadcast, .data = buffer, .root = root.rank, .options = std::move(options)});
}

Work all_gather(Group& group, BufferView input, BufferView output, CallOptions options) {
  if (!group.joined()) return refuse(group, "all_gather", options, "");
  if (output.dtype != input.dtype || output.element_count != input.element_count * group.world_size()) {
    return refuse(group, "all_gather", options, shape_of("output", group, input, output));
  }
  if (input.element_count > 0 && (input.data == nullptr || output.data == nullptr)) {
    return refuse(group, "all_gather", options, "a buffer is null");
  }
  return launch(group,
                {.kind = CollectiveKind::kAllGather, .data = input, .output = output, .options = std::move(options)});
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
