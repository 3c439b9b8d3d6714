#include "comm/bench/facts.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "rondo_commit.h"

namespace rondo::bench {
namespace {

/// "AMD EPYC 9B45" from /proc/cpuinfo.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string kernel_release() {
  utsname names{};
  return ::uname(&names) == 0 ? std::string(names.sysname) + " " + names.release : "unknown";
}

std::string load_average() {
  double loads[3] = {};
  if (::getloadavg(loads, 3) != 3) return "unknown";
  char text[64];
  std::snprintf(text, sizeof text, "%.2f %.2f %.2f (1, 5, 15 minutes)", loads[0], loads[1], loads[2]);
  return text;
}

std::string pinning(std::span<const int> cpus) {
  std::string text;
  for (size_t rank = 0; rank < cpus.size(); ++rank) {
    text += (rank == 0 ? "rank " : ", rank ") + std::to_string(rank) + " on cpu " + std::to_string(cpus[rank]);
  }
  const std::set<int> distinct(cpus.begin(), cpus.end());
  return distinct.size() < cpus.size() ? text + " (ranks share cores)" : text;
}

}  // namespace

bool is_release_build() { return build_type() == "Release"; }

std::string build_type() {
  const std::string type = RONDO_BUILD_TYPE, sanitizers = RONDO_BUILD_SANITIZERS;
  return sanitizers.empty() ? type : type + " with " + sanitizers;
}

Facts machine_facts(std::span<const int> cpus) {
  return {{"commit", build::kCommit},
          {"build", build_type() + (is_release_build() ? "" : " (no figure to quote: figures come from Release)")},
          {"compiler", std::string(build::kCompiler) + ", " + RONDO_BUILD_FLAGS},
          {"cpu", processor_name() + ", " + std::to_string(::sysconf(_SC_NPROCESSORS_ONLN)) + " online"},
          {"kernel", kernel_release()},
          {"load", load_average()},
          {"pinning", pinning(cpus)}};
}

}  // namespace rondo::bench
