#include "launcher/doctor/host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "launcher/agent/ask.h"
#include "launcher/agent/gpus.h"
#include "launcher/agent/meeting_point.h"
#include "launcher/agent/memory_events.h"
#include "launcher/agent/programs.h"
#include "launcher/base/descriptor.h"
#include "launcher/base/libraries.h"
#include "launcher/base/version.h"

namespace rondo::launcher {
namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
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

/// Not from /sys, which may show another network namespace.
std::optional<int> packet_bytes_of(const char* interface) {
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
  if (::ioctl(socket.get(), SIOCGIFMTU, &request) != 0) return std::nullopt;
  return request.ifr_mtu;
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
      if (const auto bytes = packet_bytes_of(at->ifa_name)) facts.packet_bytes.insert(*bytes);
    }
  }
  ::freeifaddrs(list);
}

/// What the dynamic loader would load for `program`, by name and path.
std::vector<std::pair<std::string, std::string>> loaded_by(const std::string& program) {
  std::vector<std::pair<std::string, std::string>> objects;
  const auto loader = ask({"/usr/bin/env", "LD_TRACE_LOADED_OBJECTS=1", program});
  if (!loader.ok()) return objects;
  std::istringstream lines(loader->output);
  for (std::string line; std::getline(lines, line);) {
    const size_t begin = line.find_first_not_of(" \t"), arrow = line.find(" => ");
    if (begin == std::string::npos || arrow == std::string::npos) continue;
    objects.emplace_back(line.substr(begin, arrow - begin), line.substr(arrow + 4, line.find(" (", arrow) - arrow - 4));
  }
  return objects;
}

/// LibTorch's archive has a file build-version, Python's torch a version.py.
std::string libtorch_version(const fs::path& library) {
  const fs::path root = library.parent_path().parent_path();
  if (const std::string version = first_line(root / "build-version"); !version.empty()) return version;
  std::ifstream file(root / "version.py");
  for (std::string line; std::getline(file, line);) {
    const size_t open = line.find('\''), close = line.find('\'', open + 1);
    if (line.starts_with("__version__") && close != std::string::npos) return line.substr(open + 1, close - open - 1);
  }
  return "a version that " + root.string() + " does not tell";
}

void read_libraries(const std::string& trainer, HostFacts& facts) {
  for (const auto& [name, path] : loaded_by(trainer)) {
    if (name.starts_with("libgomp") || name.starts_with("libiomp5.so") || name.starts_with("libomp.so"))
      facts.openmp_copies.push_back(path);
    if (name.starts_with("libtorch_cpu.so")) facts.libtorch = libtorch_version(path);
  }
  if (!facts.libtorch) return;
  const auto config = ask({trainer, "--libtorch"});
  if (config.ok() && config->exit_code == 0) facts.blas = blas_in(config->output);
}

void read_ports(HostFacts& facts) {
  const auto free = hold_port({});
  if (!free.ok()) facts.loopback_problem = free.status().message();
  for (const int port : {29400, 29500})  // of --rdzv-endpoint and MASTER_PORT, when nothing else is said
    if (const auto held = hold_port({.address = "127.0.0.1", .port = port}); free.ok() && !held.ok())
      facts.taken_ports.push_back(std::to_string(port));
}

std::optional<std::string> writable_problem(const fs::path& folder) {
  if (::access(folder.c_str(), W_OK) == 0) return std::nullopt;
  return folder.string() + ": " + std::strerror(errno);
}

}  // namespace

std::optional<std::string> blas_in(const std::string& config) {
  const auto word_behind = [&](const std::string& key) -> std::optional<std::string> {
    const size_t at = config.find(key);
    if (at == std::string::npos) return std::nullopt;
    const size_t begin = at + key.size();
    return config.substr(begin, config.find_first_of(",- \n", begin) - begin);
  };
  if (const auto mkl = word_behind("Math Kernel Library Version ")) return "MKL " + *mkl;
  auto named = word_behind("BLAS_INFO=");
  if (named == "open") return "OpenBLAS";
  if (named || config.find("Build settings:") == std::string::npos) return named;
  return "";
}

HostFacts read_host() {
  HostFacts facts;
  std::array<char, 256> name{};
  facts.name = ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
  facts.name_addresses = addresses_of(facts.name);
  facts.rondo = version_line();
  facts.cpu_features = cpu_features();
  facts.cpus = read_topology();
  facts.cpus_of_machine = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  facts.cpu_quota = comm::cpu_quota(comm::system_files());
  if (const char* threads = std::getenv("OMP_NUM_THREADS"); threads != nullptr && *threads != '\0')
    facts.omp_num_threads = threads;
  struct sysinfo info {};
  if (::sysinfo(&info) == 0) facts.memory_bytes = uint64_t{info.totalram} * info.mem_unit;
  facts.memory_limit_bytes = tightest_limit(memory_groups(comm::system_files()), facts.memory_bytes);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    facts.open_files = limit.rlim_cur;
    facts.open_files_hard = limit.rlim_max;
  }
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) facts.locked_bytes = limit.rlim_cur;
  read_interfaces(facts);
  read_ports(facts);

  for (const char* part : {"rondo-exec", "rondo-train", "rondo-comm-bench"}) {
    const auto path = std::string(part) == "rondo-train" ? find_trainer() : find_part(part);
    facts.parts.push_back({part, path.ok() ? *path : "", path.ok() ? "" : path.status().message()});
    if (path.ok() && std::string(part) == "rondo-train") read_libraries(*path, facts);
  }
  std::error_code error;
  const fs::path here = fs::current_path(error), runs = here / "runs";
  facts.folder_problem = writable_problem(fs::exists(runs, error) ? runs : here);
  struct statvfs disk {};
  if (::statvfs(here.c_str(), &disk) == 0) facts.disk_free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (auto path = find_program("mpirun"); path.ok()) facts.mpirun = *path;
  if (auto path = find_program("srun"); path.ok()) facts.srun = *path;
  for (const char* family : {"openmpi", "mpich"})
    if (has_part("rondo-mpi-" + std::string(family) + ".so")) facts.mpi_components.emplace_back(family);
  for (const char* variable : {"SLURM_JOB_ID", "SLURM_STEP_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK",
                               "TORCHELASTIC_RUN_ID", "HOROVOD_RANK"}) {
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0')
      facts.launchers.emplace_back(variable);
  }
  facts.gpus = count_gpus();
  return facts;
}

}  // namespace rondo::launcher
