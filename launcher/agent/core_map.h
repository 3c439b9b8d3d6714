/// Which cpus each rank gets. Pure functions of the machine's topology.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/agent/topology.h"

namespace rondo::launcher {

/// What a rank is bound to (torchrun's --numa-binding; kCores is what happens without it).
enum class Binding {
  kCores,        // its share of all cores, neighbours in the machine, so that a share rarely straddles two nodes
  kNode,         // all cpus of one NUMA node
  kSocket,       // all cpus of one package
  kCoreComplex,  // all cpus around one last-level cache
  kExclusive,    // its share of the cores of one NUMA node
  kNone,         // nothing: the mask stays as the launcher's
};

/// "node", "socket", "core-complex", "exclusive", "cores", "none".
std::optional<Binding> binding_of(std::string_view name);

/// What one rank gets.
struct CoreShare {
  std::vector<int> cpus;  // ascending
  int threads = 1;        // cores for each rank there, at least 1: the same on every rank
};

/// Divides the machine among `ranks`, in the order of packages, nodes, caches and cores. Both hardware threads of a
/// core go to the same rank. Shares differ by at most one core; with more ranks than cores they take turns.
std::vector<CoreShare> share_cores(const std::vector<CpuPlace>& cpus, int ranks, Binding binding);

/// "0,1,5".
std::string cpu_list(const std::vector<int>& cpus);

}  // namespace rondo::launcher
