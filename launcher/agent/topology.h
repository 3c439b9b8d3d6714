/// How the cpus that this process may use lie in the machine, as hwloc sees it.
#pragma once

#include <optional>
#include <vector>

#include "rondo/comm/cgroups.h"

namespace rondo::launcher {

/// One cpu and what it shares with others. The numbers only tell equal from unequal: cpus with the same `core` are
/// hardware threads of one core, those with the same `cache` share a last-level cache.
struct CpuPlace {
  int cpu = 0;
  int core = 0, cache = 0, node = 0, package = 0;
};

/// The cpus this process may run on, ascending. At least one.
std::vector<int> usable_cpus();

/// The places of usable_cpus(). Where hwloc knows nothing (no /sys), every cpu is a core of one and the same package.
std::vector<CpuPlace> read_topology();

/// How many cores `cpus` belong to.
int count_cores(const std::vector<CpuPlace>& cpus);

/// How many cpus' worth of time the tightest cpu limit of this process's cgroups allows, rounded up; empty: no limit.
std::optional<int> cpu_limit(const comm::FileReader& read);

/// What a host has for its ranks.
struct HostCpus {
  std::vector<CpuPlace> places;
  std::optional<int> limit;
};
HostCpus read_cpus();

/// `count` of something, a cpu's work each, but no more than `limit` lets run at once; at least 1.
int within_limit(int count, std::optional<int> limit);

}  // namespace rondo::launcher
