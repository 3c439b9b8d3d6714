/// What this machine's cores can copy, now and at this size: the yardstick for collectives that work in shared memory.
///
/// An all-reduce in shared memory must load and store the buffer once on every rank: 2S bytes. Copying one half of an
/// equally large buffer over the other moves S bytes, so the floor is the time of two such copies.
#pragma once

#include <span>

#include "comm/bench/room.h"

namespace rondo::bench {

/// Microseconds in which a rank loads and stores `buffer.size()` bytes in all, while the other ranks do the same:
/// median over copies of the slowest rank. All ranks call it together; the answer is rank 0's, others get 0.
/// Overwrites `buffer`.
comm::Result<double> copy_time(Room& room, std::span<std::byte> buffer, comm::Deadline deadline);

}  // namespace rondo::bench
