#include "comm/memory/limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <sstream>

namespace rondo::comm {
namespace {

/// The number that `text` starts with; empty for "max" and the like.
std::optional<uint64_t> leading_number(const std::optional<std::string>& text) {
  uint64_t value = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc{}) return std::nullopt;
  return value;
}

/// The value of the line "key value" in a cgroup's memory.stat.
uint64_t stat_value(const std::optional<std::string>& stat, std::string_view key) {
  std::istringstream lines(stat.value_or(""));
  std::string name;
  uint64_t value = 0;
  while (lines >> name >> value)
    if (name == key) return value;
  return 0;
}

struct CgroupFiles {
  const char *limit, *usage, *inactive, *active;
};
constexpr CgroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                "total_active_file"};
constexpr CgroupFiles kVersion2{"memory.max", "memory.current", "inactive_file", "active_file"};

std::optional<MemoryLimit> limit_of(const std::string& folder, const CgroupFiles& files, const FileReader& read) {
  const auto limit = leading_number(read(folder + "/" + files.limit));
  const auto used = leading_number(read(folder + "/" + files.usage));
  // Version 1 writes "no limit" as a number near 2^63.
  if (!limit || !used || *limit > std::numeric_limits<int64_t>::max() / 2) return std::nullopt;
  const auto stat = read(folder + "/memory.stat");
  const uint64_t cache = stat_value(stat, files.inactive) + stat_value(stat, files.active);
  const uint64_t pinned = *used - std::min(cache, *used);
  return MemoryLimit{"memory cgroup " + folder, *limit, *limit - std::min(pinned, *limit)};
}

}  // namespace

std::vector<MemoryLimit> cgroup_limits(const FileReader& read) {
  std::vector<MemoryLimit> limits;
  for (const Cgroup& group : cgroups_of("memory", read))
    if (auto limit = limit_of(group.folder, group.version == 2 ? kVersion2 : kVersion1, read))
      limits.push_back(std::move(*limit));
  return limits;
}

std::vector<MemoryLimit> machine_limits(const FileReader& read) {
  std::istringstream lines(read("/proc/meminfo").value_or(""));
  uint64_t total = 0, available = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t kibibytes = 0;
    if (!(words >> name >> kibibytes)) continue;
    if (name == "MemTotal:" || name == "SwapTotal:") total += kibibytes * 1024;
    if (name == "MemAvailable:" || name == "SwapFree:") available += kibibytes * 1024;
  }
  if (total == 0) return {};
  return {{"memory of this machine (MemAvailable and SwapFree)", total, available}};
}

std::vector<MemoryLimit> resource_limits(const FileReader& read) {
  std::vector<MemoryLimit> limits;
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    const uint64_t pages = leading_number(read("/proc/self/statm")).value_or(0);
    const uint64_t used = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    limits.push_back(
        {"RLIMIT_AS (ulimit -v)", limit.rlim_cur, limit.rlim_cur - std::min<uint64_t>(used, limit.rlim_cur)});
  }
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    limits.push_back({"RLIMIT_FSIZE (ulimit -f)", limit.rlim_cur, limit.rlim_cur});
  return limits;
}

Status check_room(uint64_t need, const std::string& purpose, const std::vector<MemoryLimit>& limits) {
  const auto tightest =
      std::min_element(limits.begin(), limits.end(), [](const auto& a, const auto& b) { return a.free < b.free; });
  if (tightest == limits.end() || need <= tightest->free) return {};
  return {Code::kResource,
          "no room for " + purpose + ": need " + std::to_string(need) + " bytes, free " +
              std::to_string(tightest->free) + " of the limit " + std::to_string(tightest->limit) + " of the " +
              tightest->source + "; raise that limit, run fewer ranks on this host, or choose a smaller model or batch",
          {.operation = "allocation"}};
}

}  // namespace rondo::comm
