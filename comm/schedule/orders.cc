#include "comm/schedule/orders.h"

#include <algorithm>
#include <bit>

namespace rondo::comm {
namespace {

Expression folded(std::vector<Expression> operands, Expressions& sums) {
  const Fold fold = fold_of(static_cast<int>(operands.size()));
  std::vector<Expression> groups;
  for (size_t pair = 0; pair < static_cast<size_t>(fold.pairs); ++pair) {
    groups.push_back(sums.sum(operands[2 * pair], operands[2 * pair + 1]));
  }
  groups.insert(groups.end(), operands.begin() + 2 * fold.pairs, operands.end());
  return sums.canonical(groups);
}

Expression by_host(const Hosts& hosts, const std::vector<Expression>& operands, Expressions& sums) {
  std::vector<Expression> of_hosts;
  for (const auto& ranks : hosts) {
    std::vector<Expression> inside;
    for (const int rank : ranks) inside.push_back(operands[static_cast<size_t>(rank)]);
    of_hosts.push_back(sums.canonical(inside));
  }
  return sums.canonical(of_hosts);
}

}  // namespace

Fold fold_of(int world_size) {
  const int groups = static_cast<int>(std::bit_floor(static_cast<unsigned>(world_size)));
  return {.groups = groups, .pairs = world_size - groups};
}

std::vector<Expression> sums_of(Order order, const Hosts& hosts, std::vector<Expression> operands, Expressions& sums) {
  switch (order) {
    case Order::kNone:
      return {};
    case Order::kCanonical:
      return {sums.canonical(operands)};
    case Order::kLinear:
      return {sums.linear(operands)};
    case Order::kFolded:
      return {folded(std::move(operands), sums)};
    case Order::kByHost:
      return {by_host(hosts, operands, sums)};
    case Order::kByChunk: {
      std::vector<Expression> all;
      for (size_t i = 0; i < operands.size(); ++i) {
        all.push_back(sums.linear(operands));
        std::ranges::rotate(operands, operands.begin() + 1);
      }
      return all;
    }
  }
  return {};
}

Order canonical_or(Order order, const Hosts& hosts, int world_size) {
  // Known without looking, and with a thousand ranks too many sums to look at: the tree of four is no line, and chunks
  // that start at different ranks never agree.
  if ((order == Order::kLinear && world_size > 3) || (order == Order::kByChunk && world_size > 1)) return order;
  Expressions sums(world_size);
  std::vector<Expression> ranks;
  for (int rank = 0; rank < world_size; ++rank) ranks.push_back(Expressions::leaf(rank));
  const bool same = sums_of(order, hosts, ranks, sums) == sums_of(Order::kCanonical, hosts, ranks, sums);
  return same ? Order::kCanonical : order;
}

}  // namespace rondo::comm
