/// The collectives that can be measured, one row each: what goes in, what must come out, how nccl-tests counts its
/// bytes, and how Rondo is called. A new collective is a new row.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rondo/comm/collectives.h"

namespace rondo::bench {

/// What a rank owns of the one buffer of a call: nothing, all of it, its own 1/n, or all of it on rank 0 only.
enum class Part : uint8_t { kNone, kWhole, kOwnBlock, kWholeOnRoot };

/// What the result holds: nothing, the sum over all ranks, rank 0's data, or block r from rank r.
enum class Content : uint8_t { kNone, kSum, kRoots, kBlocks };

/// One call, in place: the parts lie in one buffer.
struct Call {
  comm::BufferView whole;
  comm::BufferView own_block;
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

/// The call on a buffer at `data` that holds `element_count` elements of all ranks together. `element_count` is a
/// multiple of the world size where blocks matter.
Call make_call(comm::Position at, void* data, int64_t element_count, comm::DType dtype);

}  // namespace rondo::bench
