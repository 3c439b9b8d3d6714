/// How far a rank's clock is from rank 0's, from messages alone. Pure, and the exchange that feeds it.
///
/// In each round every rank reads its clock, gathers all readings, and reads it again. Nobody has rank 0's reading
/// before rank 0 took it, nor rank 0 another's, so each round bounds the offset from both sides; over rounds the
/// tightest bounds count. An exchange that takes d bounds it to within d. Cristian's algorithm, with collectives.
#pragma once

#include <cstdint>
#include <vector>

#include "rondo/comm/group.h"

namespace rondo::trainer {

/// One round as two ranks saw it, each by its own clock: when it read the clock, and when it held all readings.
struct ClockRound {
  struct Seen {
    int64_t sent_ns = 0, received_ns = 0;
  };
  Seen zero, other;
};

/// other's clock + offset_ns = rank 0's clock, to within error_ns.
struct ClockOffset {
  int64_t offset_ns = 0;
  int64_t error_ns = 0;
};

/// `rounds` is not empty.
ClockOffset estimate_offset(const std::vector<ClockRound>& rounds);

/// Collective: the offset of this rank by an exchange of messages, a few dozen small collectives. Rank 0's is zero.
comm::Result<ClockOffset> exchange_clocks(comm::Group& group);

/// Collective: zero, without error, for ranks whose kernel is rank 0's, because it keeps one monotonic clock for all;
/// else by exchange.
comm::Result<ClockOffset> measure_clock_offset(comm::Group& group);

}  // namespace rondo::trainer
