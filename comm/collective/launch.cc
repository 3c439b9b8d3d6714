#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "comm/collective/collective_state.h"
#include "comm/collective/fused_collective.h"
#include "comm/kernels/kernels.h"
#include "comm/transport/wire.h"
#include "rondo/comm/algorithms.h"

namespace rondo::comm {
namespace {

// How all ranks of a board begin and end, whatever the call: the one algorithm of shared memory.
constexpr std::string_view kFused = "push";
const Tuner kNoRules;

Where where_of(const Group& group, const Launch& request) {
  return {.rank = group.state()->job_rank(group.rank()),
          .operation = std::string(request.end == End::kReceiver ? "receive" : name(request.kind)),
          .tag = request.options.tag};
}

bool reduces(CollectiveKind kind) {
  return kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kReduceScatter;
}

Status check_arguments(const Group& group, const Launch& request) {
  const auto wrong = [&](std::string text) {
    return Status(Code::kInvalidArgument, std::move(text), where_of(group, request));
  };
  const BufferView& data = request.data;
  if (data.element_count < 0) return wrong("element count " + std::to_string(data.element_count) + " is negative");
  if (data.element_count > kMostElements) return wrong("more than 2^40 elements");
  if (data.data == nullptr && data.element_count > 0) {
    return wrong("the buffer is null but has " + std::to_string(data.element_count) + " elements");
  }
  if (!std::isfinite(request.options.weight) || request.options.weight < 0) {
    return wrong("weight " + std::to_string(request.options.weight) + " is not a finite number >= 0");
  }
  if (request.kind == CollectiveKind::kBroadcast && (request.root < 0 || request.root >= group.world_size())) {
    return wrong("root " + std::to_string(request.root) + " is not a rank of group \"" + group.name() + "\" of " +
                 std::to_string(group.world_size()));
  }
  if (reduces(request.kind) && !supports(data.dtype, request.op)) {
    return Status(Code::kUnsupported,
                  std::string(name(request.op)) + " of " + std::string(name(data.dtype)) + " is not built",
                  where_of(group, request));
  }
  if (request.options.wire) {
    const DType wire = *request.options.wire;
    if (wire != data.dtype && (byte_width(wire) != 2 || data.dtype != DType::kFloat32)) {
      return Status(Code::kUnsupported,
                    std::string(name(data.dtype)) + " cannot travel as " + std::string(name(wire)) +
                        ": only float32 can, as float16 or bfloat16",
                    where_of(group, request));
    }
  }
  return {};
}

Goal goal_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kBroadcast:
    case CollectiveKind::kSend:
      return Goal::kBroadcast;
    case CollectiveKind::kAllGather:
      return Goal::kAllGather;
    case CollectiveKind::kReduceScatter:
      return Goal::kReduceScatter;
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kBarrier:
      break;
  }
  return Goal::kAllReduce;
}

/// The type in which `request` travels over messages.
DType wire_of(const Launch& request) {
  const DType data = request.data.dtype;
  return reduces(request.kind) && data == DType::kFloat32 ? request.options.wire.value_or(data) : data;
}

Result<std::shared_ptr<const Schedule>> schedule_for(GroupState& state, const Launch& request,
                                                     std::string_view algorithm) {
  const auto width = static_cast<int64_t>(byte_width(request.data.dtype));
  const Algorithm* known = find_algorithm(algorithm);
  ScheduleQuery query{.goal = goal_of(request.kind), .algorithm = algorithm};
  const int64_t widest = reduces(request.kind) && width == 2 ? 4 : width;  // 16-bit sums may travel as float32
  query.shape = {.at = state.at(),
                 .element_count = request.data.element_count,
                 .segment_elements = std::max<int64_t>(1, state.identity().options.segment_bytes / width),
                 .most_message_elements = kMaxPayloadBytes / widest,
                 .root = std::max(request.root, 0),
                 .host_of_rank = state.identity().host_of_rank};
  if (wire_of(request) != request.data.dtype) query.shape.wire = Wire::kNarrow;
  const GroupState::ScheduleKey key{static_cast<int64_t>(query.goal),
                                    known != nullptr ? known - algorithms().data() : -1,
                                    query.shape.element_count,
                                    width,
                                    query.shape.root,
                                    static_cast<int64_t>(query.shape.wire)};
  return state.schedule(key, [&] { return make_schedule(query); });
}

/// 16-bit elements whose partial sums would travel: these travel as float32 and are rounded once, at the end. Decided
/// by what all ranks know alike, for a rank may have no part in the partial sums of few elements. Two ranks have none.
bool needs_widening(const Algorithm& algorithm, int world_size, DType dtype) {
  return byte_width(dtype) == 2 && algorithm.means == Means::kMessages && algorithm.narrowest == Wire::kSame &&
         world_size > 2;
}

Work launch_fused(Group& group, const Launch& request, Descriptor&& descriptor) {
  GroupState& state = *group.state();
  StoreKind stores = StoreKind::kPlain;
  if (!FusedCollective::carries(request.data.byte_count())) {
    const BufferView& shared = request.kind == CollectiveKind::kAllGather ? request.output : request.data;
    if (const auto registered = state.find_registered({shared.bytes(), shared.byte_count()})) {
      descriptor.region = registered->id;
      descriptor.offset = registered->offset;
    }
    const Landing landing = descriptor.region != 0 ? Landing::kRegistered : Landing::kStaging;
    stores = state.tuner().stores(shared.byte_count(), landing);
  }
  const bool in_place = request.output.data == nullptr;
  auto operation = std::make_shared<FusedCollective>(
      group.state(), FusedCollective::Call{.descriptor = std::move(descriptor),
                                           .data = request.data,
                                           .output = in_place ? request.data : request.output,
                                           .weight = request.options.weight,
                                           .stores = stores});
  state.enqueue(operation);
  return Work(std::move(operation));
}

Work launch_scheduled(Group& group, Launch request, Descriptor descriptor, std::string_view algorithm) {
  GroupState& state = *group.state();
  if (request.kind == CollectiveKind::kAllGather) {  // schedules of all_gather find the own block at its place
    std::byte* block = request.output.bytes() + request.data.byte_count() * static_cast<size_t>(group.rank());
    if (request.data.element_count > 0 && block != request.data.bytes()) {
      std::memmove(block, request.data.bytes(), request.data.byte_count());
    }
    request.data = std::exchange(request.output, {});
    descriptor.element_count = request.data.element_count;
  }
  const auto schedule = schedule_for(state, request, algorithm);
  if (!schedule.ok()) return Work::finished(schedule.status().at(where_of(group, request)));
  Binding binding{.data = request.data,
                  .result = request.output,
                  .wire = wire_of(request),
                  .op = request.op,
                  .weight = request.options.weight,
                  .job_ranks = state.identity().job_ranks};
  const Algorithm* known = find_algorithm((*schedule)->algorithm);
  if (known != nullptr && known->means == Means::kRegions && group.world_size() > 1) {
    const auto registered = state.find_registered({request.data.bytes(), request.data.byte_count()});
    if (!state.abilities().region || !registered) {
      return Work::finished(Status(Code::kUnsupported,
                                   "algorithm \"" + std::string(algorithm) +
                                       "\" needs a transport with shared regions and a buffer from group.allocate()",
                                   where_of(group, request)));
    }
    descriptor.region = binding.region = registered->id;
    descriptor.offset = binding.offset = registered->offset;
  }
  const bool widened =
      reduces(request.kind) && known != nullptr && needs_widening(*known, group.world_size(), request.data.dtype);
  auto operation = std::make_shared<ScheduledCollective>(
      group.state(), *schedule, std::move(binding), std::move(descriptor), std::move(request.storage),
      widened ? ScheduledCollective::Sums::kWidened : ScheduledCollective::Sums::kInPlace);
  state.enqueue(operation);
  return Work(std::move(operation));
}

}  // namespace

Work launch(Group& group, Launch request) {
  if (!group.joined()) {
    return Work::finished(Status(Code::kInvalidArgument, "this rank is not a member of the group"));
  }
  if (Status status = check_arguments(group, request); !status.ok()) return Work::finished(status);
  GroupState& state = *group.state();
  Descriptor descriptor{.kind = request.kind,
                        .dtype = request.data.dtype,
                        .op = request.op,
                        .root = request.root,
                        .element_count = request.data.element_count,
                        .algorithm_hash = state.rules_hash(),
                        .tag = request.options.tag,
                        .end = request.end};
  const CallShape shape{.goal = goal_of(request.kind),
                        .world_size = group.world_size(),
                        .byte_count = request.data.byte_count(),
                        .wire = wire_of(request) == request.data.dtype ? Wire::kSame : Wire::kNarrow,
                        .hosts = state.host_layout(),
                        .dtype = request.data.dtype};
  // Rules are for what users reduce and send; a barrier has no bytes to speak of.
  const Tuner& tuner = request.kind == CollectiveKind::kBarrier ? kNoRules : state.tuner();
  if (state.abilities().board) {
    const std::string_view ruled = tuner.ruled(shape);
    if (ruled.empty() || ruled == kFused) return launch_fused(group, request, std::move(descriptor));
    return launch_scheduled(group, std::move(request), std::move(descriptor), ruled);
  }
  const std::string_view algorithm = tuner.choose(shape);
  return launch_scheduled(group, std::move(request), std::move(descriptor), algorithm);
}

}  // namespace rondo::comm
