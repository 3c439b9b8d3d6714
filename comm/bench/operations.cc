#include "comm/bench/operations.h"

#include <array>

namespace rondo::bench {
namespace {

using comm::Group;
using comm::ReduceOp;

double once(int) { return 1; }
double one_way(int n) { return static_cast<double>(n - 1) / n; }
comm::CallOptions options_of(const Call& call) { return {.tag = {}, .weight = 1, .wire = call.wire}; }

double two_ways(int n) { return 2 * one_way(n); }

constexpr std::array kCollectives{
    Collective{
        "all_reduce", Part::kWhole, Part::kWhole, Content::kSum, two_ways,
        [](Group& group, const Call& call) { return all_reduce(group, call.whole, ReduceOp::kSum, options_of(call)); }},
    Collective{"reduce_scatter", Part::kWhole, Part::kBlockApart, Content::kSum, one_way,
               [](Group& group, const Call& call) {
                 return reduce_scatter(group, call.whole, call.block_apart, ReduceOp::kSum, options_of(call));
               }},
    Collective{"all_gather", Part::kOwnBlock, Part::kWhole, Content::kBlocks, one_way,
               [](Group& group, const Call& call) { return all_gather(group, call.own_block, call.whole); }},
    Collective{"broadcast", Part::kWholeOnRoot, Part::kWhole, Content::kRoots, once,
               [](Group& group, const Call& call) { return broadcast(group, call.whole, {.rank = 0}); }},
    Collective{"barrier", Part::kNone, Part::kNone, Content::kNone, once,
               [](Group& group, const Call&) { return barrier(group); }},
};

/// Where the block behind a buffer of so many bytes begins.
size_t apart_at(size_t byte_count) { return (byte_count + 127) / 128 * 128; }

}  // namespace

std::span<const Collective> collectives() { return kCollectives; }

const Collective* find_collective(std::string_view name) {
  for (const Collective& collective : kCollectives) {
    if (collective.name == name) return &collective;
  }
  return nullptr;
}

std::string_view reduction_name(const Collective& collective) {
  return collective.content == Content::kSum ? "sum" : "none";
}

Call make_call(comm::Position at, void* data, int64_t element_count, comm::DType dtype) {
  const int64_t block = element_count / at.world_size;
  const comm::BufferView whole{data, element_count, dtype};
  auto* own = whole.bytes() + static_cast<size_t>(block * at.rank) * byte_width(dtype);
  auto* apart = whole.bytes() + apart_at(whole.byte_count());
  return {.whole = whole, .own_block = {own, block, dtype}, .block_apart = {apart, block, dtype}};
}

size_t call_bytes(comm::Position at, int64_t byte_count) {
  const auto bytes = static_cast<size_t>(byte_count);
  return apart_at(bytes) + bytes / static_cast<size_t>(at.world_size);
}

}  // namespace rondo::bench
