/// The control groups that this process is in (cgroups(7), versions 1 and 2), as folders whose files say limits and
/// counts.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rondo::comm {

/// The content of a file, or empty when it cannot be read.
using FileReader = std::function<std::optional<std::string>(const std::string& path)>;
FileReader system_files();

struct Cgroup {
  std::string folder;  // "/sys/fs/cgroup/jobs/mine"
  int version = 2;
};
/// Those of `controller` ("memory", "cpu") by /proc/self/cgroup, and of version 2, whatever its controllers; each with
/// all above it, the innermost first. Not every folder need be there: in a container the path may be the host's, and
/// then the walk upward ends at the root, which is the container's own cgroup.
std::vector<Cgroup> cgroups_of(const std::string& controller, const FileReader& read);

/// Processors that the bandwidth limits of this process's cgroups are worth: the tightest of them, 1.5 for a container
/// with that much. Empty: no limit.
std::optional<double> cpu_quota(const FileReader& read);

}  // namespace rondo::comm
