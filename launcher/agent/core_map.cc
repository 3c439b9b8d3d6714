#include "launcher/agent/core_map.h"

#include <sched.h>

#include <algorithm>

namespace rondo::launcher {

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

std::vector<CoreShare> share_cores(const std::vector<int>& cpus, int ranks) {
  const auto count = static_cast<int>(cpus.size());
  std::vector<CoreShare> shares(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    CoreShare& share = shares[static_cast<size_t>(rank)];
    share.threads = std::max(1, count / ranks);
    if (ranks > count) {
      share.cpus = {cpus[static_cast<size_t>(rank % count)]};
    } else {
      share.cpus.assign(cpus.begin() + int64_t{rank} * count / ranks,
                        cpus.begin() + (int64_t{rank} + 1) * count / ranks);
    }
  }
  return shares;
}

std::string cpu_list(const std::vector<int>& cpus) {
  std::string list;
  for (const int cpu : cpus) list += (list.empty() ? "" : ",") + std::to_string(cpu);
  return list;
}

}  // namespace rondo::launcher
