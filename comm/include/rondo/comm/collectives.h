/// The collectives. Each returns a Work at once; an error at launch is the Work's status. None throws.
///
/// Thread:  any; calls on one group are issued in the same order on every rank.
/// Buffers: must stay alive and untouched until the Work is done.
/// Errors:  kInvalidArgument, kUnsupported at launch; kMismatch (both descriptions), kPeerLost, kTimeout, kAborted,
///          kCorrupt while in flight.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rondo/comm/buffer.h"
#include "rondo/comm/group.h"
#include "rondo/comm/work.h"

namespace rondo::comm {

struct CallOptions {
  std::string tag;      // names the buffer in errors; compared between ranks
  double weight = 1.0;  // of this rank's operand, for kWeightedMean; finite, >= 0
  /// kFloat16 or kBFloat16: float32 operands and results of reductions travel over streams in this type. Every operand
  /// is rounded to it, sums are made in float32, and the result is rounded once more. Shared memory is not narrowed.
  std::optional<DType> wire = {};
};

/// Reduces `buffer` over all ranks, in place. Shape: same element count and dtype on every rank; 0 elements are
/// allowed. Order: fixed by (algorithm, world size, element count), never by timing: every rank ends with the same
/// bits. Cost of the ring: 2(n-1)/n of the buffer's bytes sent by each rank, 2(n-1) messages a segment. Source:
/// Patarasu and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations".
Work all_reduce(Group& group, BufferView buffer, ReduceOp op, CallOptions options = {});

/// The same, out of place: `output` has the shape of `input`, which stays as it is. They do not overlap.
Work all_reduce(Group& group, BufferView input, BufferView output, ReduceOp op, CallOptions options = {});

/// Reduces world_size blocks and leaves block r with rank r: `input` has world_size * output.element_count elements and
/// stays as it is; `output` must not overlap it. Order as all_reduce. Cost: half of all_reduce's.
Work reduce_scatter(Group& group, BufferView input, BufferView output, ReduceOp op, CallOptions options = {});

/// Copies `buffer` of rank `root.rank` to every rank, by a pipelined chain.
struct Root {
  int rank = 0;
};
Work broadcast(Group& group, BufferView buffer, Root root, CallOptions options = {});

/// Gathers `input` of every rank into `output`, in rank order: output has world_size * input.element_count elements.
Work all_gather(Group& group, BufferView input, BufferView output, CallOptions options = {});

/// Brings a small blob of every rank, of any length, to rank `root.rank`, which gets them in rank order; the others get
/// an empty list. Blocks until done or `deadline` (kTimeout). Cost: everybody receives the longest blob of everybody;
/// all ranks together at most 256 MiB, else kInvalidArgument.
Result<std::vector<std::vector<std::byte>>> gather(Group& group, std::span<const std::byte> blob, Root root,
                                                   Deadline deadline, CallOptions options = {});

/// The way back: rank r gets blobs[r] of rank `root.rank`; what the others pass is not looked at. Blocks as gather().
/// Cost: everybody receives all blobs, at most 256 MiB together. kInvalidArgument on all ranks when the root has not
/// one blob for each rank.
Result<std::vector<std::byte>> scatter(Group& group, std::span<const std::vector<std::byte>> blobs, Root root,
                                       Deadline deadline, CallOptions options = {});

/// Returns after every rank has called it.
Work barrier(Group& group, CallOptions options = {});

}  // namespace rondo::comm
