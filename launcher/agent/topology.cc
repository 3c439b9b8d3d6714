#include "launcher/agent/topology.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

namespace rondo::launcher {
namespace {

struct Destroy {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, Destroy>;

/// Cpus, cores, caches, nodes and packages only: devices would cost milliseconds, and nobody asks for them.
Topology load() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return nullptr;
  Topology topology(raw);
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_type_filter(raw, HWLOC_OBJ_MISC, HWLOC_TYPE_FILTER_KEEP_NONE);
  return hwloc_topology_load(raw) == 0 ? std::move(topology) : nullptr;
}

/// The number of the object of `type` around `unit`, or `otherwise`.
int around(hwloc_topology* topology, hwloc_obj* unit, hwloc_obj_type_t type, int otherwise) {
  const hwloc_obj* object = hwloc_get_ancestor_obj_by_type(topology, type, unit);
  return object != nullptr ? static_cast<int>(object->logical_index) : otherwise;
}

/// Memory hangs beside the tree of cpus, so the nearest node is found by its set of cpus.
int node_around(hwloc_topology* topology, const hwloc_obj* unit, int otherwise) {
  hwloc_obj* node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    if (hwloc_bitmap_isset(node->cpuset, unit->os_index)) return static_cast<int>(node->logical_index);
  }
  return otherwise;
}

}  // namespace

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

std::vector<CpuPlace> read_topology() {
  const Topology topology = load();
  std::vector<CpuPlace> places;
  for (const int cpu : usable_cpus()) {
    CpuPlace place{.cpu = cpu, .core = cpu};
    if (hwloc_obj* unit = topology ? hwloc_get_pu_obj_by_os_index(topology.get(), static_cast<unsigned>(cpu)) : nullptr;
        unit != nullptr) {
      place.package = around(topology.get(), unit, HWLOC_OBJ_PACKAGE, 0);
      place.node = node_around(topology.get(), unit, 0);
      place.cache = around(topology.get(), unit, HWLOC_OBJ_L3CACHE, place.node);
      place.core = around(topology.get(), unit, HWLOC_OBJ_CORE, cpu);
    }
    places.push_back(place);
  }
  return places;
}

int count_cores(const std::vector<CpuPlace>& cpus) {
  std::set<int> cores;
  for (const CpuPlace& place : cpus) cores.insert(place.core);
  return static_cast<int>(cores.size());
}

std::optional<int> cpu_limit(const comm::FileReader& read) {
  const auto quota = comm::cpu_quota(read);
  if (!quota || *quota > CPU_SETSIZE) return std::nullopt;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

HostCpus read_cpus() { return {.places = read_topology(), .limit = cpu_limit(comm::system_files())}; }

int within_limit(int count, std::optional<int> limit) { return std::max(1, std::min(count, limit.value_or(count))); }

}  // namespace rondo::launcher
