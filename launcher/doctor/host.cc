#include "launcher/doctor/host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "launcher/agent/ask.h"
#include "launcher/agent/gpus.h"
#include "launcher/agent/meeting_point.h"
#include "launcher/agent/programs.h"

namespace rondo::launcher {
namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<uint64_t> number(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end != text.data() ? std::optional(value) : std::nullopt;
}

/// The folder of this process's cgroup: of version 2, or of a controller of version 1.
std::string cgroup_of(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    const bool wanted = controller.empty()
                            ? controllers.empty()
                            : ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
    if (!wanted) continue;
    const std::string root = "/sys/fs/cgroup" + (controller.empty() ? "" : "/" + controller);
    // Inside a container the path may be the host's; then the root is what there is.
    return fs::exists(root + path) ? root + path : root;
  }
  return "";
}

std::optional<uint64_t> memory_limit(uint64_t memory_bytes) {
  for (const std::string& file : {cgroup_of("") + "/memory.max", cgroup_of("memory") + "/memory.limit_in_bytes"}) {
    const auto limit = number(first_line(file));
    if (limit && *limit < memory_bytes) return limit;  // version 1 says "none" by a huge number
  }
  return std::nullopt;
}

std::optional<double> cpu_quota() {
  std::istringstream line(first_line(cgroup_of("") + "/cpu.max"));
  double quota = 0, period = 0;
  if (line >> quota >> period && period > 0) return quota / period;
  const auto old_quota = number(first_line(cgroup_of("cpu") + "/cpu.cfs_quota_us"));
  const auto old_period = number(first_line(cgroup_of("cpu") + "/cpu.cfs_period_us"));
  if (old_quota && old_period && *old_period > 0)
    return static_cast<double>(*old_quota) / static_cast<double>(*old_period);
  return std::nullopt;
}

std::string text_of(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  if (address->sa_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text, sizeof text);
  return text;
}

std::vector<std::string> addresses_of(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  std::vector<std::string> addresses;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return addresses;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) addresses.push_back(text_of(at->ai_addr));
  ::freeaddrinfo(list);
  return addresses;
}

void read_interfaces(HostFacts& facts) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    if (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6) continue;
    if ((at->ifa_flags & IFF_LOOPBACK) != 0) {
      facts.loopback_up = true;
    } else {
      facts.interfaces.push_back(std::string(at->ifa_name) + " (" + text_of(at->ifa_addr) + ")");
    }
  }
  ::freeifaddrs(list);
}

std::vector<std::string> openmp_of(const std::string& program) {
  std::vector<std::string> copies;
  const auto loader = ask({"/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", program});
  if (!loader.ok()) return copies;
  std::istringstream lines(loader->output);
  for (std::string line; std::getline(lines, line);) {
    for (const char* runtime : {"libgomp", "libiomp5", "libomp"}) {
      if (line.find(std::string(runtime) + (std::string(runtime) == "libgomp" ? "" : ".so")) == std::string::npos)
        continue;
      const size_t arrow = line.find("=> ");
      copies.push_back(arrow == std::string::npos ? line : line.substr(arrow + 3, line.find(" (", arrow) - arrow - 3));
    }
  }
  return copies;
}

std::optional<std::string> writable_problem(const fs::path& folder) {
  if (::access(folder.c_str(), W_OK) == 0) return std::nullopt;
  return folder.string() + ": " + std::strerror(errno);
}

}  // namespace

HostFacts read_host() {
  HostFacts facts;
  std::array<char, 256> name{};
  facts.name = ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
  facts.name_addresses = addresses_of(facts.name);
  facts.cpus = read_topology();
  facts.cpus_of_machine = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  facts.cpu_quota = cpu_quota();
  if (const char* threads = std::getenv("OMP_NUM_THREADS"); threads != nullptr && *threads != '\0')
    facts.omp_num_threads = threads;
  struct sysinfo info {};
  if (::sysinfo(&info) == 0) facts.memory_bytes = uint64_t{info.totalram} * info.mem_unit;
  facts.memory_limit_bytes = memory_limit(facts.memory_bytes);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    facts.open_files = limit.rlim_cur;
    facts.open_files_hard = limit.rlim_max;
  }
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) facts.locked_bytes = limit.rlim_cur;
  read_interfaces(facts);
  if (const auto port = hold_port({}); !port.ok()) facts.loopback_problem = port.status().message();

  for (const char* part : {"rondo-exec", "rondo-train", "rondo-comm-bench"}) {
    const auto path = std::string(part) == "rondo-train" ? find_trainer() : find_part(part);
    facts.parts.push_back({part, path.ok() ? *path : "", path.ok() ? "" : path.status().message()});
    if (path.ok() && std::string(part) == "rondo-train") facts.openmp_copies = openmp_of(*path);
  }
  std::error_code error;
  const fs::path here = fs::current_path(error), runs = here / "runs";
  facts.folder_problem = writable_problem(fs::exists(runs, error) ? runs : here);
  struct statvfs disk {};
  if (::statvfs(here.c_str(), &disk) == 0) facts.disk_free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (auto path = find_program("mpirun"); path.ok()) facts.mpirun = *path;
  if (auto path = find_program("srun"); path.ok()) facts.srun = *path;
  for (const char* variable : {"SLURM_JOB_ID", "SLURM_STEP_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK",
                               "TORCHELASTIC_RUN_ID", "HOROVOD_RANK"}) {
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0')
      facts.launchers.emplace_back(variable);
  }
  facts.gpus = count_gpus();
  return facts;
}

}  // namespace rondo::launcher
