/// Measures one contender at every point of a plan: the same loop for Rondo and for its rivals.
///
/// Before each timed call every rank rewrites its input and meets the others at the gate; the call's time is the
/// slowest rank's; after it every rank checks its result, element by element: where ranks share cores, once all are
/// back from the call. A barrier moves nothing: of it is checked that no rank leaves before the last has entered.
#pragma once

#include "comm/bench/contender.h"
#include "comm/bench/report.h"

namespace rondo::bench {

/// Where the ranks met, and what that says of the plan. All ranks together.
struct Meeting {
  Room room;
  std::vector<int> cpus;  // by rank
  Plan plan;              // for these cores
};
/// `cpu`: where this rank is bound to.
comm::Result<Meeting> meet(Contender& contender, const Request& request, int cpu);

/// Whether the copy rate is measured beside each point.
enum class Yardstick : uint8_t { kNone, kCopyRate };

/// Every round over every point. Rank 0's `report` gets a row for each, and one over all rounds.
comm::Status sweep(Contender& contender, Room& room, const Plan& plan, Yardstick yardstick, Report& report);

}  // namespace rondo::bench
