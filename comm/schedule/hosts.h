/// Which ranks share a host: the layout that hierarchical algorithms and their order depend on. Pure; any thread.
#pragma once

#include <vector>

namespace rondo::comm {

/// The ranks of each host, ascending; hosts in the order of their lowest rank.
using Hosts = std::vector<std::vector<int>>;

/// From a number for each rank; empty: all ranks on one host.
Hosts hosts_of(const std::vector<int>& host_of_rank, int world_size);

}  // namespace rondo::comm
