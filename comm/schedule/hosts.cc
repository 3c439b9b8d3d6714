#include "comm/schedule/hosts.h"

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

}  // namespace rondo::comm
