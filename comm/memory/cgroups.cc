#include "rondo/comm/cgroups.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace rondo::comm {
namespace {

/// Of one cgroup folder.
std::optional<double> quota_of(const std::string& folder, const FileReader& read) {
  double quota = 0;
  double period = 0;
  if (const auto text = read(folder + "/cpu.max")) {  // version 2: "max 100000" or "150000 100000"
    std::istringstream(*text) >> quota >> period;
  } else if (const auto first = read(folder + "/cpu.cfs_quota_us")) {  // version 1: -1 or microseconds
    std::istringstream(*first) >> quota;
    std::istringstream(read(folder + "/cpu.cfs_period_us").value_or("")) >> period;
  }
  return quota > 0 && period > 0 ? std::optional(quota / period) : std::nullopt;
}

}  // namespace

FileReader system_files() {
  return [](const std::string& path) -> std::optional<std::string> {
    std::ifstream file(path);
    if (!file) return std::nullopt;
    std::ostringstream content;
    content << file.rdbuf();
    return std::move(content).str();
  };
}

std::vector<Cgroup> cgroups_of(const std::string& controller, const FileReader& read) {
  std::vector<Cgroup> groups;
  std::istringstream lines(read("/proc/self/cgroup").value_or(""));
  for (std::string line; std::getline(lines, line);) {  // "hierarchy:controllers:/path"; 0 and none in version 2
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || line.compare(second + 1, 1, "/") != 0) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const int version = line.starts_with("0::") ? 2 : 1;
    if (version == 1 && controllers.find("," + controller + ",") == std::string::npos) continue;
    const std::string root = version == 2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      while (path.ends_with('/')) path.pop_back();
      groups.push_back({.folder = root + path, .version = version});
      if (path.empty()) break;
    }
  }
  return groups;
}

std::optional<double> cpu_quota(const FileReader& read) {
  std::optional<double> tightest;
  for (const Cgroup& group : cgroups_of("cpu", read)) {
    const auto quota = quota_of(group.folder, read);
    if (quota) tightest = std::min(tightest.value_or(*quota), *quota);
  }
  return tightest;
}

}  // namespace rondo::comm
