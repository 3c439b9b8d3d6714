#include "launcher/agent/core_map.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace rondo::launcher {
namespace {

using Cores = std::vector<std::vector<CpuPlace>>;  // in the machine's order; the hardware threads of each

Cores cores_of(std::vector<CpuPlace> cpus) {
  const auto order = [](const CpuPlace& at) { return std::tuple(at.package, at.node, at.cache, at.core, at.cpu); };
  std::ranges::sort(cpus, {}, order);
  Cores cores;
  for (const CpuPlace& place : cpus) {
    if (cores.empty() || cores.back()[0].core != place.core) cores.emplace_back();
    cores.back().push_back(place);
  }
  return cores;
}

/// The group that a core belongs to under `binding`; one group for all when ranks share everything.
int domain_of(const CpuPlace& place, Binding binding) {
  switch (binding) {
    case Binding::kNode:
    case Binding::kExclusive:
      return place.node;
    case Binding::kSocket:
      return place.package;
    case Binding::kCoreComplex:
      return place.cache;
    case Binding::kCores:
    case Binding::kNone:
      break;
  }
  return 0;
}

std::vector<Cores> domains_of(const Cores& cores, Binding binding) {
  std::vector<Cores> domains;
  for (const auto& core : cores) {
    if (domains.empty() || domain_of(domains.back()[0][0], binding) != domain_of(core[0], binding))
      domains.emplace_back();
    domains.back().push_back(core);
  }
  return domains;
}

struct Slice {
  int part = 0, parts = 1;  // the part-th of so many
};

/// A slice's cores: [first, last) of `count`; with more parts than cores one core, in turn.
std::pair<int, int> range_of(Slice slice, int count) {
  if (slice.parts > count) return {slice.part % count, slice.part % count + 1};
  return {static_cast<int>(int64_t{slice.part} * count / slice.parts),
          static_cast<int>((int64_t{slice.part} + 1) * count / slice.parts)};
}

std::vector<int> cpus_of(const Cores& cores, std::pair<int, int> range) {
  std::vector<int> cpus;
  for (int core = range.first; core < range.second; ++core) {
    for (const CpuPlace& place : cores[static_cast<size_t>(core)]) cpus.push_back(place.cpu);
  }
  std::ranges::sort(cpus);
  return cpus;
}

constexpr std::array kNames{
    std::pair{"cores", Binding::kCores},         std::pair{"node", Binding::kNode},
    std::pair{"socket", Binding::kSocket},       std::pair{"core-complex", Binding::kCoreComplex},
    std::pair{"exclusive", Binding::kExclusive}, std::pair{"none", Binding::kNone}};

}  // namespace

std::optional<Binding> binding_of(std::string_view name) {
  for (const auto& [known, binding] : kNames) {
    if (name == known) return binding;
  }
  return std::nullopt;
}

std::vector<CoreShare> share_cores(const std::vector<CpuPlace>& cpus, int ranks, Binding binding) {
  const std::vector<Cores> domains = domains_of(cores_of(cpus), binding);
  const auto count = static_cast<int>(domains.size());
  const bool divides = binding == Binding::kCores || binding == Binding::kExclusive;
  const auto domain_of_rank = [&](int rank) {  // neighbours share one; with fewer ranks than domains they spread
    return static_cast<int>(int64_t{rank} * count / ranks);
  };
  std::vector<int> ranks_in(domains.size());
  for (int rank = 0; rank < ranks; ++rank) ++ranks_in[static_cast<size_t>(domain_of_rank(rank))];

  std::vector<CoreShare> shares;
  std::vector<int> met(domains.size());
  int threads = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto domain = static_cast<size_t>(domain_of_rank(rank));
    const Cores& cores = domains[domain];
    const auto all = static_cast<int>(cores.size());
    const Slice slice{.part = met[domain]++, .parts = ranks_in[domain]};
    CoreShare share;
    if (binding != Binding::kNone) share.cpus = cpus_of(cores, divides ? range_of(slice, all) : std::pair{0, all});
    shares.push_back(std::move(share));
    const int here = std::max(1, all / ranks_in[domain]);
    threads = threads == 0 ? here : std::min(threads, here);
  }
  for (CoreShare& share : shares) share.threads = threads;
  return shares;
}

std::string cpu_list(const std::vector<int>& cpus) {
  std::string list;
  for (const int cpu : cpus) list += (list.empty() ? "" : ",") + std::to_string(cpu);
  return list;
}

}  // namespace rondo::launcher
