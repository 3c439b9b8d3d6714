/// What a process uses of its host, as /proc says it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "rondo/comm/deadline.h"

namespace rondo::launcher {

struct ProcessUsage {
  std::optional<double> cpu_percent;  // of one processor; unknown until there was a sample before
  uint64_t resident_bytes = 0;
  char state = '\0';  // R, S, D, T, Z, ...
};

/// The text of /proc/PID/stat and /proc/PID/statm, and the units that they count in.
struct UsageFiles {
  std::string_view stat, statm;
  long ticks_per_second = 100, page_bytes = 4096;
};
struct UsageSample {
  std::chrono::nanoseconds cpu_time{0};  // in user and system mode, of all threads
  uint64_t resident_bytes = 0;
  char state = '\0';
};
/// Pure. Nothing when the files say something else.
std::optional<UsageSample> read_usage(const UsageFiles& files);

/// Of the process itself, without its children. Nothing when there is no such process.
std::optional<UsageSample> sample_usage(pid_t pid);

/// Of one processor: 250 are two and a half. Pure.
double cpu_percent(std::chrono::nanoseconds used, comm::Duration within);

}  // namespace rondo::launcher
