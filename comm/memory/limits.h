/// How much memory this process may still take: asked before an allocation, because fallocate alone does not fail in a
/// small memory cgroup, it gets the process killed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rondo/comm/cgroups.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// One limit that binds this process.
struct MemoryLimit {
  std::string source;  // "memory cgroup /sys/fs/cgroup/job", "RLIMIT_AS (ulimit -v)"
  uint64_t limit = 0;  // bytes
  uint64_t free = 0;   // bytes that may still be taken; page cache that the kernel can drop counts as free
};

/// The memory cgroups, v1 and v2, that /proc/self/cgroup names, and all above them, as far as they are readable.
std::vector<MemoryLimit> cgroup_limits(const FileReader& read);
/// What the machine itself still has: without a cgroup the kernel would end other processes for a request that is too
/// large.
std::vector<MemoryLimit> machine_limits(const FileReader& read);
/// RLIMIT_AS and RLIMIT_FSIZE (which binds memfds too) of this process, where set.
std::vector<MemoryLimit> resource_limits(const FileReader& read);

/// kResource with need, free and limit when `need` bytes for `purpose` do not fit one of `limits`.
Status check_room(uint64_t need, const std::string& purpose, const std::vector<MemoryLimit>& limits);

}  // namespace rondo::comm
