/// What Slurm's variables abbreviate: lists of hosts and counts of tasks. Read here, so that no rank asks scontrol.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rondo/comm/status.h"

namespace rondo::comm {

/// "gpu[01-03,7],cpu2" is gpu01 gpu02 gpu03 gpu7 cpu2; "rack[1-2]n[1-2]" is rack1n1 rack1n2 rack2n1 rack2n2. A number
/// keeps the zeros before it. kInvalidArgument says what cannot be read.
Result<std::vector<std::string>> slurm_hosts(std::string_view list);

/// SLURM_STEP_TASKS_PER_NODE: "2(x3),1" is 2 2 2 1.
Result<std::vector<int>> slurm_tasks_per_node(std::string_view counts);

}  // namespace rondo::comm
