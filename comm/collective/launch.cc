#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/collective/collective_state.h"
#include "comm/kernels/kernels.h"

namespace rondo::comm {
namespace {

Where where_of(const Group& group, const Launch& request) {
  return {.rank = group.state()->job_rank(group.rank()),
          .operation = std::string(name(request.kind)),
          .tag = request.options.tag};
}

Status check_arguments(const Group& group, const Launch& request) {
  const auto wrong = [&](std::string text) {
    return Status(Code::kInvalidArgument, std::move(text), where_of(group, request));
  };
  const BufferView& data = request.data;
  if (data.element_count < 0) return wrong("element count " + std::to_string(data.element_count) + " is negative");
  if (data.element_count > (int64_t{1} << 40)) return wrong("more than 2^40 elements");
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
  if (request.kind == CollectiveKind::kAllReduce && !supports(data.dtype, request.op)) {
    return Status(Code::kUnsupported,
                  std::string(name(request.op)) + " of " + std::string(name(data.dtype)) + " is not built",
                  where_of(group, request));
  }
  return {};
}

// The algorithm by name; empty and "ring" mean the ring.
Schedule make_schedule(const Group& group, const Launch& request, const std::string& algorithm) {
  const GroupOptions& options = group.state()->identity().options;
  const ScheduleRequest shape{.at = group.state()->at(),
                              .element_count = request.data.element_count,
                              .segment_elements = std::max<int64_t>(
                                  1, options.segment_bytes / static_cast<int64_t>(byte_width(request.data.dtype)))};
  switch (request.kind) {
    case CollectiveKind::kBroadcast:
      return chain_broadcast(shape, request.root);
    case CollectiveKind::kAllGather:
      return ring_all_gather(shape);
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kBarrier:
      break;
  }
  if (request.kind == CollectiveKind::kAllReduce && algorithm == "direct") return direct_all_reduce(shape);
  return ring_all_reduce(shape);
}

}  // namespace

Where CollectiveState::where() const {
  if (group_ == nullptr) return {};
  const Descriptor& descriptor = execution_.descriptor();
  const int peer = execution_.waits_for();
  return {.rank = group_->job_rank(group_->at().rank),
          .peer = peer < 0 ? -1 : group_->job_rank(peer),
          .operation = std::string(name(descriptor.kind)),
          .tag = descriptor.tag,
          .sequence = static_cast<int64_t>(descriptor.sequence),
          .phase = execution_.phase()};
}

FlightCall CollectiveState::flight_call() const {
  const Descriptor& descriptor = execution_.descriptor();
  return {.kind = descriptor.kind,
          .dtype = descriptor.dtype,
          .op = descriptor.op,
          .root = descriptor.root,
          .element_count = descriptor.element_count,
          .algorithm = FlightName(execution_.algorithm()),
          .tag = descriptor.tag};
}

FlightPosition CollectiveState::flight_position() const {
  const int peer = execution_.waits_for();
  return {.hop = execution_.hop(), .hop_count = execution_.hop_count(), .peer = peer < 0 ? -1 : group_->job_rank(peer)};
}

Work launch(Group& group, Launch request) {
  if (!group.joined()) {
    return Work::finished(Status(Code::kInvalidArgument, "this rank is not a member of the group"));
  }
  if (Status status = check_arguments(group, request); !status.ok()) return Work::finished(status);
  GroupState& state = *group.state();
  const GroupOptions& options = state.identity().options;
  const std::string& algorithm = options.algorithm;
  if (!algorithm.empty() && algorithm != "ring" && algorithm != "direct") {
    return Work::finished(Status(Code::kInvalidArgument,
                                 "unknown algorithm \"" + algorithm + "\": there are \"ring\" and \"direct\"",
                                 where_of(group, request)));
  }
  Descriptor descriptor{.kind = request.kind,
                        .dtype = request.data.dtype,
                        .op = request.op,
                        .root = request.root,
                        .element_count = request.data.element_count,
                        .tag = request.options.tag};
  Binding binding{.data = request.data,
                  .op = request.op,
                  .weight = request.options.weight,
                  .job_ranks = state.identity().job_ranks};
  if (algorithm == "direct" && request.kind == CollectiveKind::kAllReduce && group.world_size() > 1) {
    const auto registered = state.find_registered({request.data.bytes(), request.data.byte_count()});
    if (!state.abilities().region || !registered) {
      return Work::finished(Status(Code::kUnsupported,
                                   "algorithm \"direct\" needs a transport with shared regions and a buffer from "
                                   "group.allocate()",
                                   where_of(group, request)));
    }
    descriptor.region = binding.region = registered->id;
    descriptor.offset = binding.offset = registered->offset;
  }
  const std::string key = std::to_string(static_cast<int>(request.kind)) + "/" +
                          std::to_string(request.data.element_count) + "/" +
                          std::to_string(byte_width(request.data.dtype)) + "/" + std::to_string(request.root);
  const std::string identity = algorithm + "/" + std::to_string(options.segment_bytes);
  descriptor.algorithm_hash = XXH3_64bits(identity.data(), identity.size());
  const auto schedule = state.schedule(key, [&] { return make_schedule(group, request, algorithm); });
  auto operation = std::make_shared<CollectiveState>(
      group.state(), Execution(schedule, std::move(binding), std::move(descriptor)), std::move(request.storage));
  state.enqueue(operation);
  return Work(std::move(operation));
}

}  // namespace rondo::comm
