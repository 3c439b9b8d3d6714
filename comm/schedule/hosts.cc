#include "comm/schedule/hosts.h"

#include <bit>
#include <cstddef>
#include <map>

namespace rondo::comm {

Hosts hosts_of(const std::vector<int>& host_of_rank, int world_size) {
  Hosts hosts;
  std::map<int, size_t> index_of;
  for (int rank = 0; rank < world_size; ++rank) {
    const int host = host_of_rank.empty() ? 0 : host_of_rank[static_cast<size_t>(rank)];
    const auto [found, is_new] = index_of.try_emplace(host, hosts.size());
    if (is_new) hosts.emplace_back();
    hosts[found->second].push_back(rank);
  }
  return hosts;
}

HostLayout layout_of(const std::vector<int>& host_of_rank, int world_size) {
  const Hosts hosts = hosts_of(host_of_rank, world_size);
  if (hosts.size() < 2 || hosts.size() == static_cast<size_t>(world_size)) return HostLayout::kFlat;
  const size_t each = hosts.front().size();
  for (size_t host = 0; host < hosts.size(); ++host) {
    const auto& ranks = hosts[host];
    const bool block =
        ranks.front() == static_cast<int>(host * each) && ranks.back() == ranks.front() + static_cast<int>(each) - 1;
    if (ranks.size() != each || !block) return HostLayout::kScattered;
  }
  return std::has_single_bit(each) ? HostLayout::kCanonicalBlocks : HostLayout::kBlocks;
}

}  // namespace rondo::comm
