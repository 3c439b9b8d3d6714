/// Which ranks share a host: the layout that hierarchical algorithms and their order depend on. Pure; any thread.
#pragma once

#include <cstdint>
#include <vector>

namespace rondo::comm {

/// The ranks of each host, ascending; hosts in the order of their lowest rank.
using Hosts = std::vector<std::vector<int>>;

/// From a number for each rank; empty: all ranks on one host.
Hosts hosts_of(const std::vector<int>& host_of_rank, int world_size);

/// What a layout means for the choice of an algorithm.
enum class HostLayout : uint8_t {
  kFlat,             // one host, or one rank on each: all pairs are alike
  kCanonicalBlocks,  // every host holds one aligned block of the same 2^k ranks: sums by host are in canonical order
  kBlocks,           // the same with another number of ranks
  kScattered,        // anything else
};
HostLayout layout_of(const std::vector<int>& host_of_rank, int world_size);

}  // namespace rondo::comm
