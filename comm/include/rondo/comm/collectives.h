/// The collectives, and send and receive between two ranks. Each returns a Work at once; an error at launch is the
/// Work's status. None throws.
///
/// Thread:  any; collectives on one group are issued in the same order on every rank.
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

/// Brings `buffer` to rank `to.rank` of the group, which receives it into its own. No other rank takes part, and
/// collectives go on beside it: what one rank sends to another is received in the order of these calls, whatever else
/// the two do, and has its own sequence numbers. Of `options` only the tag counts.
/// Done:    when the receiver has made its call and the buffer is free again. A receiver that is never there is
/// kTimeout
///          after the group's operation timeout; one that left the job is kClosed.
/// Order:   calls of one rank to one other are issued by one thread at a time; all ranks may send first and then
///          receive, as a ring does, as long as they wait for neither in between.
/// Errors:  as collectives: kMismatch when element type, count or tag differ, at both ends, with both descriptions. An
///          error in flight ends the group for all.
/// Cost:    the bytes once; the first call from one rank to another makes a channel: over streams a link, in shared
///          memory 50 KiB at both ends and, for buffers above 2 KiB, 2 MiB at the sender's, through which bytes go.
struct Peer {
  int rank = 0;  // of the group; not the caller itself
};
Work send(Group& group, BufferView buffer, Peer to, CallOptions options = {});
/// The other end of send(): the next thing that rank `from.rank` sends here goes into `buffer`.
Work receive(Group& group, BufferView buffer, Peer from, CallOptions options = {});

}  // namespace rondo::comm
