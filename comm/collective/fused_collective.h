/// The collectives of ranks that share memory, written by hand for speed: one pass over the data between two looks at
/// flag lines. Their results are, bit for bit, those of the canonical schedules.
///
/// Every call begins at the board: a rank posts what it is about to do and goes on when all have posted the same. Then,
/// by size and kind of memory, decided from the posted lines and so alike on all ranks:
///
///   carried     the operand stands on the line (48 bytes) or in a slot behind it; everybody reads all: one round
///   registered  buffers from group.allocate(): the owner of a slice reads it from all ranks, reduces it and stores it
///               to all ("fused push"): two rounds, 2 bytes moved a rank for each byte, the least possible
///   staged      any other memory: pieces go through a staging region of each rank, two of them in turn
///
/// Stores into memory that peers read may go past the caches: the choice is the caller's and changes no bit.
///
/// Never blocks; advance() does at most one segment (256 KiB). Threading: under the group's lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/collective/collective_state.h"
#include "comm/kernels/kernels.h"
#include "comm/transport/board.h"

namespace rondo::comm {

class FusedCollective final : public CollectiveState {
 public:
  /// `data` is what this rank hands in (of a broadcast: the buffer); `output` where its result goes, which for
  /// all_reduce and broadcast is the same memory.
  struct Call {
    Descriptor descriptor;
    BufferView data;
    BufferView output;
    double weight = 1;
    StoreKind stores = StoreKind::kPlain;  // into memory that peers read
  };
  FusedCollective(std::shared_ptr<GroupState> group, Call&& call);

  /// Whether a call that hands in so much goes by the flag lines alone, wherever its memory lies.
  static bool carries(size_t byte_count);

  void enqueued(uint64_t sequence) override { call_.descriptor.sequence = sequence; }
  Progress advance(const Turn& turn) override;
  Status status() const override { return status_; }
  Where where() const override;
  FlightCall flight_call() const override;
  FlightPosition flight_position() const override;

 private:
  enum class Step : uint8_t { kPost, kEntry, kCarried, kRegistered, kStaged, kLeave };
  struct Slice {
    int64_t begin = 0;
    int64_t count = 0;
    Slice part(int64_t index, int64_t length) const;
  };

  Progress fail(Status status);
  Progress blocked_on(int peer);
  void post(Board& board);
  Progress enter(const Turn& turn, const Board& board);
  Step way(const Board& board);
  Progress carried(const Board& board);
  Progress registered(const Turn& turn, Board& board);
  Progress find_peers(const Turn& turn, const Board& board);
  Status move_segment(Slice segment);
  Progress staged(const Turn& turn, Board& board);
  Progress find_staging(const Turn& turn);
  Progress staged_reduce(const Turn& turn, Board& board);
  Progress staged_gather(const Turn& turn, Board& board);
  Progress staged_broadcast(const Turn& turn, Board& board);
  Progress leave(const Turn& turn, const Board& board);
  bool all_reached(const Turn& turn, const Board& board, uint64_t phase);

  CollectiveKind kind() const { return kind_; }
  bool is_root() const { return rank_ == call_.descriptor.root; }
  size_t width() const { return byte_width(call_.data.dtype); }
  uint64_t sequence() const { return call_.descriptor.sequence; }
  /// Part `rank` of the elements that all ranks share out.
  Slice slice_of(int rank) const;
  std::byte* in(int64_t element) const { return call_.data.bytes() + static_cast<size_t>(element) * width(); }
  std::byte* out(int64_t element) const { return call_.output.bytes() + static_cast<size_t>(element) * width(); }
  std::byte* staging(int rank, int64_t piece, int slice) const;
  int64_t staged_elements() const;
  /// Reduces what operands_ point at, position = rank; ranks of weight 0 are left out.
  struct Outputs {
    std::span<std::byte* const> all;
    size_t own = 0;  // the last so many are read by this rank alone
  };
  Status reduce_to(const Outputs& outputs, int64_t count);
  void hand_out(const std::byte* from, std::byte* to, size_t bytes) const;

  Call call_;
  const CollectiveKind kind_;  // a transfer is a broadcast among two
  const int rank_;
  const int ranks_;
  Step step_ = Step::kPost;
  int peer_ = 0;      // the next one to look at
  int64_t done_ = 0;  // elements of the own slice, or whole pieces
  int part_ = 0;      // of a staged piece
  int waits_for_ = -1;
  double total_weight_ = 0;
  // Three lists, by rank: the memory of peers, operands of a reduction, its outputs. Few ranks need no
  // allocation; none is cleared, each is written before it is read.
  std::array<std::byte*, 3 * 8> few_;
  std::vector<std::byte*> many_;
  std::span<std::byte*> peers_, operands_, outputs_;
  Status status_;
};

}  // namespace rondo::comm
