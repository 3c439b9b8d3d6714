#include "rondo/comm/cgroups.h"

#include <fstream>
#include <sstream>

namespace rondo::comm {

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

}  // namespace rondo::comm
