#include "comm/bench/operations.h"

#include <array>

namespace rondo::bench {
namespace {

using comm::Group;
using comm::ReduceOp;

double once(int) { return 1; }
double one_way(int n) { return static_cast<double>(n - 1) / n; }
double two_ways(int n) { return 2 * one_way(n); }

constexpr std::array kCollectives{
    Collective{"all_reduce", Part::kWhole, Part::kWhole, Content::kSum, two_ways,
               [](Group& group, const Call& call) { return all_reduce(group, call.whole, ReduceOp::kSum); }},
    Collective{"all_gather", Part::kOwnBlock, Part::kWhole, Content::kBlocks, one_way,
               [](Group& group, const Call& call) { return all_gather(group, call.own_block, call.whole); }},
    Collective{"broadcast", Part::kWholeOnRoot, Part::kWhole, Content::kRoots, once,
               [](Group& group, const Call& call) { return broadcast(group, call.whole, {.rank = 0}); }},
    Collective{"barrier", Part::kNone, Part::kNone, Content::kNone, once,
               [](Group& group, const Call&) { return barrier(group); }},
};

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
  return {.whole = whole, .own_block = {own, block, dtype}};
}

}  // namespace rondo::bench
