/// How a collective begins where ranks share memory: each posts what it is about to do, and goes on when all have
/// posted the same. Elsewhere descriptors travel as messages; see execution.h.
#pragma once

#include <vector>

#include "comm/collective/descriptor.h"
#include "comm/transport/board.h"

namespace rondo::comm {

/// A payload, if any, was put onto the board before.
void post_entry(Board& board, const Descriptor& descriptor, double weight);

/// kPending while `peer` has not entered; kClosed when it left the group instead; then as compare_entries().
Status meet_at(const Board& board, const Descriptor& mine, int rank, int peer, const std::vector<int>& job_ranks);

/// Ok when what `peer`, who has entered, posted fits what `rank` posted; else kMismatch with both descriptions.
/// Registered memory may differ: the collective sees to it.
Status compare_entries(const Board& board, const Descriptor& mine, int rank, int peer,
                       const std::vector<int>& job_ranks);

}  // namespace rondo::comm
