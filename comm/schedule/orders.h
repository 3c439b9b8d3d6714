/// What each Order stands for, as sums, and which order a layout really gives. Pure; any thread.
#pragma once

#include <vector>

#include "comm/schedule/expressions.h"
#include "comm/schedule/hosts.h"
#include "rondo/comm/schedule.h"

namespace rondo::comm {

/// The sums that `order` allows, of one operand a rank. One, but for kByChunk (one a chunk) and kNone (none).
std::vector<Expression> sums_of(Order order, const Hosts& hosts, std::vector<Expression> operands, Expressions& sums);

/// kCanonical if `order` gives the very same tree here (as small and even layouts often do), else `order`.
Order canonical_or(Order order, const Hosts& hosts, int world_size);

/// Groups of the folded order: 2^k of them, the first ones pairs of neighbours.
struct Fold {
  int groups = 1;  // 2^k, the largest that fits
  int pairs = 0;   // of ranks (0, 1), (2, 3), ...
};
Fold fold_of(int world_size);

}  // namespace rondo::comm
