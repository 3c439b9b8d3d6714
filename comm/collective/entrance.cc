#include "comm/collective/entrance.h"

namespace rondo::comm {

void post_entry(Board& board, const Descriptor& descriptor, double weight) {
  board.own_entry(descriptor.sequence) = {.call = descriptor.packed_call(),
                                          .element_count = descriptor.element_count,
                                          .tag_hash = descriptor.tag_hash(),
                                          .algorithm = descriptor.algorithm_hash,
                                          .region = descriptor.region,
                                          .offset = descriptor.offset,
                                          .weight = weight};
  board.post(descriptor.sequence, descriptor.tag);
}

Status meet_at(const Board& board, const Descriptor& mine, int rank, int peer, const std::vector<int>& job_ranks) {
  if (board.entered(peer, mine.sequence)) return compare_entries(board, mine, rank, peer, job_ranks);
  if (!board.left_before(peer, mine.sequence)) return Status::pending();
  const int who = job_ranks[static_cast<size_t>(peer)];
  return {Code::kClosed,
          "rank " + std::to_string(who) + " left in order without making this call: " + mine.describe(),
          {.rank = job_ranks[static_cast<size_t>(rank)], .peer = who}};
}

Status compare_entries(const Board& board, const Descriptor& mine, int rank, int peer,
                       const std::vector<int>& job_ranks) {
  const BoardEntry& posted = board.entry(rank, mine.sequence);
  const BoardEntry& theirs = board.entry(peer, mine.sequence);
  if (posted.call == theirs.call && posted.element_count == theirs.element_count &&
      posted.tag_hash == theirs.tag_hash && posted.algorithm == theirs.algorithm) {
    return {};
  }
  Descriptor other;
  other.set_packed_call(theirs.call);
  other.element_count = theirs.element_count;
  other.sequence = mine.sequence;
  other.algorithm_hash = theirs.algorithm;
  other.tag = board.tag(peer, mine.sequence);
  return mismatch(mine, other, job_ranks[static_cast<size_t>(rank)], job_ranks[static_cast<size_t>(peer)]);
}

}  // namespace rondo::comm
