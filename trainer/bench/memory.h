/// What this process has in memory, as the kernel counts it. No LibTorch.
#pragma once

#include <cstdint>

namespace rondo::trainer {

struct ProcessMemory {
  int64_t peak_rss_bytes = 0;  // VmHWM: the most that was resident at once, pages shared with peers counted whole
  int64_t pss_bytes = 0;       // now, a shared page counted by its share
};
/// Zeros where /proc does not say.
ProcessMemory read_process_memory();

}  // namespace rondo::trainer
