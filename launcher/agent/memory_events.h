/// Whether the kernel killed a process for lack of memory: by the counters of its memory cgroups, versions 1 and 2, and
/// by the kernel's log where it can be read.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/cgroups.h"

namespace rondo::launcher {

/// A memory cgroup as it stands.
struct MemoryGroup {
  std::string folder;
  uint64_t kills = 0;                   // processes killed in it for lack of memory, ever
  std::optional<uint64_t> limit_bytes;  // none, or not readable
};
/// Those that this process is in, and its ranks unless they left them; the innermost first. A dead process's own can no
/// longer be asked for.
std::vector<MemoryGroup> memory_groups(const comm::FileReader& read);
/// The smallest of their limits that is below what the machine has; empty: none is.
std::optional<uint64_t> tightest_limit(const std::vector<MemoryGroup>& groups, uint64_t memory_bytes);

/// Remembers the counters, and tells what happened since.
class MemoryEvents {
 public:
  explicit MemoryEvents(comm::FileReader read = comm::system_files()) : read_(std::move(read)) {}
  void begin();
  /// "memory cgroup /sys/fs/cgroup/job: the kernel killed a process in it for lack of memory (limit 64.0 MiB)" for the
  /// innermost one that has counted a kill since; empty when none has.
  std::string since_begin() const;

 private:
  const comm::FileReader read_;
  std::map<std::string, uint64_t> kills_;  // by folder
};

/// The line of the kernel's log that says that it killed `pid` for lack of memory, if it may be read.
std::optional<std::string> kernel_killed(pid_t pid);

}  // namespace rondo::launcher
