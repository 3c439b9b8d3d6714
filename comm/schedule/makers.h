/// The algorithms, one file each: pure functions from a request to what one rank does. Reached by name through
/// rondo/comm/algorithms.h, which checks the request first. Any thread.
#pragma once

#include "rondo/comm/algorithms.h"

namespace rondo::comm {

Schedule ring_all_reduce(const ScheduleRequest& request);
Schedule ring_all_gather(const ScheduleRequest& request);
Schedule push_all_reduce(const ScheduleRequest& request);
Schedule chain_broadcast(const ScheduleRequest& request);

}  // namespace rondo::comm
