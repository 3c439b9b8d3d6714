#include "comm/bench/pinning.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <set>

namespace rondo::bench {
namespace {

/// The first number of thread_siblings_list ("0,64" or "0-1"); the cpu itself when the kernel does not say.
int core_of(int cpu) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
  int first = cpu;
  return file >> first ? first : cpu;
}

}  // namespace

std::vector<Processor> usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<Processor> processors;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) processors.push_back({.cpu = cpu, .core = core_of(cpu)});
    }
  }
  if (processors.empty()) processors.push_back({});
  return processors;
}

std::vector<int> pinning_order(std::span<const Processor> processors) {
  std::vector<int> firsts, others;
  std::set<int> cores;
  for (const Processor& processor : processors) {
    (cores.insert(processor.core).second ? firsts : others).push_back(processor.cpu);
  }
  firsts.insert(firsts.end(), others.begin(), others.end());
  return firsts;
}

comm::Result<std::vector<int>> parse_cpus(const std::string& text) {
  std::vector<int> cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int cpu = -1;
    const auto [next, error] = std::from_chars(at, end, cpu);
    if (error != std::errc() || cpu < 0 || cpu >= CPU_SETSIZE || (next != end && *next != ',')) {
      return comm::Status(comm::Code::kInvalidArgument, "--cpus " + text + ": expected numbers of cpus such as 0,1");
    }
    cpus.push_back(cpu);
    if (next == end) return cpus;
    at = next + 1;
  }
}

std::string cpus_text(std::span<const int> cpus) {
  std::string text;
  for (const int cpu : cpus) {
    if (!text.empty()) text += ',';
    text += std::to_string(cpu);
  }
  return text;
}

comm::Result<int> choose_cpu(const std::string& cpus, int local_rank) {
  std::vector<int> choice = pinning_order(usable_processors());
  if (!cpus.empty()) {
    auto named = parse_cpus(cpus);
    RONDO_TRY(named);
    choice = *std::move(named);
  }
  return choice[static_cast<size_t>(local_rank) % choice.size()];
}

comm::Status pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) == 0) return {};
  return {comm::Code::kIo, "cannot bind this rank to cpu " + std::to_string(cpu) + ": " + std::strerror(errno) +
                               "; name others with --cpus"};
}

}  // namespace rondo::bench
