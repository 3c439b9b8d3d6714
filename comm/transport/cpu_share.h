/// Which processors the ranks of a host may use, and what follows for waiting: a waiter may spin only if every rank has
/// a processor of its own, else it burns the time slice of the rank that it waits for.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "rondo/comm/cgroups.h"

namespace rondo::comm {

/// Fixed size: ranks show it to one another in shared memory.
struct CpuShare {
  std::array<uint64_t, 16> mask{};  // affinity, one bit a processor; of the thread that makes the group
  uint32_t quota = 0;               // whole processors that the cgroup's bandwidth limit is worth; 0: no limit
};

CpuShare own_cpu_share(const FileReader& read);

/// Every one of `ranks` can have a processor to itself, and the tightest quota covers all of them.
bool may_spin(std::span<const CpuShare> ranks);

}  // namespace rondo::comm
