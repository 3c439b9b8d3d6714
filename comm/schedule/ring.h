/// Who sends which chunk when, in a ring: pure arithmetic, proven by the compiler. Any thread.
///
/// Reduce-scatter: chunk c starts at rank c and travels upward, gathering one contribution a hop; after n-1 hops rank r
/// owns the finished chunk r+1. All-gather: the finished chunks go on round the ring for n-1 more hops.
#pragma once

#include "rondo/comm/schedule.h"

namespace rondo::comm::ring {

constexpr int wrap(int index, int n) { return (index % n + n) % n; }
constexpr Position next(Position at) { return {.rank = wrap(at.rank + 1, at.world_size), .world_size = at.world_size}; }
constexpr Position previous(Position at) {
  return {.rank = wrap(at.rank - 1, at.world_size), .world_size = at.world_size};
}

/// Hops of a whole all-reduce; the first half of them reduces.
constexpr int hop_count(int n) { return 2 * (n - 1); }
constexpr bool is_reducing(int n, int hop) { return hop < n - 1; }

/// One formula for both halves: the chunk that a rank finished at hop n-2 is the one that it sends at hop n-1.
constexpr int sent_chunk(Position at, int hop) { return wrap(at.rank - hop, at.world_size); }
constexpr int received_chunk(Position at, int hop) { return wrap(at.rank - hop - 1, at.world_size); }

/// The chunk that is complete at this rank after the reducing hops.
constexpr int owned_chunk(Position at) { return wrap(at.rank + 1, at.world_size); }

constexpr bool neighbours_agree(int n) {  // what I receive is what my predecessor sends
  for (int rank = 0; rank < n; ++rank) {
    for (int hop = 0; hop < hop_count(n); ++hop) {
      if (const Position at{rank, n}; received_chunk(at, hop) != sent_chunk(previous(at), hop)) return false;
    }
  }
  return true;
}
constexpr bool forwards_what_it_received(int n) {  // a hop sends what the hop before brought
  for (int rank = 0; rank < n; ++rank) {
    for (int hop = 0; hop + 1 < hop_count(n); ++hop) {
      if (const Position at{rank, n}; sent_chunk(at, hop + 1) != received_chunk(at, hop)) return false;
    }
  }
  return true;
}
constexpr bool owner_finishes_then_shares(int n) {  // the last reducing hop completes the owned chunk
  for (int rank = 0; rank < n; ++rank) {
    const Position at{rank, n};
    if (received_chunk(at, n - 2) != owned_chunk(at) || sent_chunk(at, n - 1) != owned_chunk(at)) return false;
  }
  return true;
}
static_assert(neighbours_agree(2) && neighbours_agree(7) && neighbours_agree(16));
static_assert(forwards_what_it_received(2) && forwards_what_it_received(7) && forwards_what_it_received(16));
static_assert(owner_finishes_then_shares(2) && owner_finishes_then_shares(7) && owner_finishes_then_shares(16));

}  // namespace rondo::comm::ring
