/// The algorithms, one file each: pure functions from a request to what one rank does. Reached by name through
/// rondo/comm/algorithms.h, which checks the request first. Any thread.
#pragma once

#include "rondo/comm/algorithms.h"

namespace rondo::comm {

Schedule ring_all_reduce(const ScheduleRequest& request);
Schedule direct_all_reduce(const ScheduleRequest& request);
Schedule push_all_reduce(const ScheduleRequest& request);
Schedule one_shot_all_reduce(const ScheduleRequest& request);
Schedule chain_all_reduce(const ScheduleRequest& request);
Schedule halving_all_reduce(const ScheduleRequest& request);
Schedule hierarchical_all_reduce(const ScheduleRequest& request);
Schedule parameter_server_all_reduce(const ScheduleRequest& request);

Schedule ring_reduce_scatter(const ScheduleRequest& request);
Schedule direct_reduce_scatter(const ScheduleRequest& request);

Schedule ring_all_gather(const ScheduleRequest& request);
Schedule direct_all_gather(const ScheduleRequest& request);

Schedule chain_broadcast(const ScheduleRequest& request);
Schedule direct_broadcast(const ScheduleRequest& request);
Schedule tree_broadcast(const ScheduleRequest& request);

}  // namespace rondo::comm
