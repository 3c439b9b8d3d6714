/// The collectives that can be measured, one row each: what goes in, what must come out, how nccl-tests counts its
/// bytes, and how Rondo is called. A new collective is a new row.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rondo/comm/collectives.h"

namespace rondo::bench {

/// What a rank owns of the buffer of a call: nothing, all of it, its own 1/n, or all of it on rank 0 only.
/// kBlockApart: 1/n that lies outside of it, for results that may not overlap their input.
enum class Part : uint8_t { kNone, kWhole, kOwnBlock, kWholeOnRoot, kBlockApart };

/// What the result holds: nothing, the sum over all ranks, rank 0's data, or block r from rank r.
enum class Content : uint8_t { kNone, kSum, kRoots, kBlocks };

/// One call: the parts of its memory.
struct Call {
  comm::BufferView whole;
  comm::BufferView own_block;       // inside of whole
  comm::BufferView block_apart;     // behind it
  std::optional<comm::DType> wire;  // what sums travel in; none: their own type
};

struct Collective {
  std::string_view name;
  Part input = Part::kWhole;
  Part output = Part::kWhole;
  Content content = Content::kSum;
  /// busbw / algbw for n ranks, as nccl-tests defines it (doc/PERFORMANCE.md there).
  double (*bus_factor)(int world_size);
  comm::Work (*launch)(comm::Group& group, const Call& call);
};

std::span<const Collective> collectives();
/// Null for an unknown name.
const Collective* find_collective(std::string_view name);

/// "sum", or "none" where nothing is reduced.
std::string_view reduction_name(const Collective& collective);

/// The call in memory at `data`, call_bytes() long. `element_count` is that of all ranks together, and a multiple of
/// the world size where blocks matter.
Call make_call(comm::Position at, void* data, int64_t element_count, comm::DType dtype);
/// The whole buffer, and behind it, on a cache line of its own, a block.
size_t call_bytes(comm::Position at, int64_t byte_count);

}  // namespace rondo::bench
