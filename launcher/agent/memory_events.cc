#include "launcher/agent/memory_events.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <sstream>
#include <string_view>

#include "launcher/base/descriptor.h"
#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

constexpr uint64_t kNoLimit = uint64_t{1} << 62;  // version 1 writes "none" as a number near 2^63

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) return std::nullopt;
  return value;
}

/// The number behind "oom_kill " at the start of a line.
std::optional<uint64_t> kills_in(const std::string& events) {
  std::istringstream lines(events);
  constexpr std::string_view kName = "oom_kill ";
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(kName)) return number(std::string_view(line).substr(kName.size()));
  return std::nullopt;
}

struct Files {
  const char *events, *limit;
};
constexpr Files kVersion1{"memory.oom_control", "memory.limit_in_bytes"};
constexpr Files kVersion2{"memory.events", "memory.max"};

std::string mebibytes(uint64_t bytes) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text.data();
}

}  // namespace

std::vector<MemoryGroup> memory_groups(const comm::FileReader& read) {
  std::vector<MemoryGroup> groups;
  for (const comm::Cgroup& at : comm::cgroups_of("memory", read)) {
    const Files& files = at.version == 2 ? kVersion2 : kVersion1;
    const auto events = read(at.folder + "/" + files.events);
    const auto kills = events ? kills_in(*events) : std::nullopt;
    if (!kills) continue;
    auto limit = number(read(at.folder + "/" + files.limit).value_or(""));
    if (limit && *limit > kNoLimit) limit.reset();
    groups.push_back({.folder = at.folder, .kills = *kills, .limit_bytes = limit});
  }
  return groups;
}

std::optional<uint64_t> tightest_limit(const std::vector<MemoryGroup>& groups, uint64_t memory_bytes) {
  uint64_t tightest = memory_bytes;
  for (const MemoryGroup& group : groups) tightest = std::min(tightest, group.limit_bytes.value_or(tightest));
  return tightest < memory_bytes ? std::optional(tightest) : std::nullopt;
}

void MemoryEvents::begin() {
  for (const MemoryGroup& group : memory_groups(read_)) kills_[group.folder] = group.kills;
}

std::string MemoryEvents::since_begin() const {
  for (const MemoryGroup& group : memory_groups(read_)) {
    const auto known = kills_.find(group.folder);
    const uint64_t before = known != kills_.end() ? known->second : 0;
    if (group.kills <= before) continue;
    const uint64_t killed = group.kills - before;
    return "memory cgroup " + group.folder + ": the kernel killed " +
           (killed == 1 ? std::string("a process") : std::to_string(killed) + " processes") +
           " in it for lack of memory" +
           (group.limit_bytes ? " (limit " + mebibytes(*group.limit_bytes) + ")" : std::string());
  }
  return "";
}

std::optional<std::string> kernel_killed(pid_t pid) {
  const Descriptor log(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!log.open()) return std::nullopt;
  const std::string sign = "Killed process " + std::to_string(pid) + " ";
  std::array<char, 8192> record;
  std::optional<std::string> found;  // the last: a process id comes again
  for (ssize_t count; (count = ::read(log.get(), record.data(), record.size())) > 0;) {
    const std::string_view text(record.data(), static_cast<size_t>(count));
    const size_t begin = text.find(';');  // before it: level, number, time
    if (begin == std::string_view::npos || text.find(sign) == std::string_view::npos) continue;
    found = "the kernel's log: " + printable(text.substr(begin + 1, text.find('\n') - begin - 1));
  }
  return found;
}

}  // namespace rondo::launcher
