/// How long a store takes to be seen on another core: one cache line bounced between ranks 0 and 1. Says in which mode
/// a virtual machine's cores are, so that a figure can be judged.
#pragma once

#include <optional>

#include "comm/bench/room.h"

namespace rondo::bench {

/// Nanoseconds one way (half a round trip), the median of several batches. All ranks call it together; ranks 0 and 1
/// measure. No number on the other ranks, where ranks share cores, and where there is only one.
comm::Result<std::optional<double>> flag_latency(Room& room, comm::Deadline deadline);

}  // namespace rondo::bench
