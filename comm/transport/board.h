/// The flag lines of ranks that share memory: each rank has a ring of 64 lines on which it says what it is about to do,
/// how far it is, and, where that fits, hands in its operand. Peers read; only the owner writes.
///
/// One line is two cache lines: the first has the flags and what peers compare, the second the rest and 48 bytes of
/// payload. Line `sequence mod 64` belongs to that collective. A rank posts sequence s + 1 only after it has finished
/// s, and finishes s only after all have posted s: so nobody is more than one collective ahead, a line is never written
/// while a peer may still read it, and two *slots* (for payloads up to 16 KiB) suffice.
///
/// Numbers only rise and are compared whole, so no state is ever told apart by its age. Flags are stored sequentially
/// consistent: see Note [No lost bell] in job_page.h. Threading: under the group's lock; the memory is shared.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/transport/cpu_share.h"
#include "comm/watch/job_page.h"
#include "rondo/comm/memory.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// Id of the region through which a group's unregistered buffers go; users' regions count from 1.
inline constexpr uint64_t kStagingRegion = ~uint64_t{0};

/// What a rank is about to do; equal on all ranks but for memory and weight.
struct BoardEntry {
  uint64_t call = 0;  // kind, dtype, reduction and root, packed by the collective
  int64_t element_count = 0;
  uint64_t tag_hash = 0;
  uint64_t algorithm = 0;
  uint64_t region = 0;  // registered memory of the buffer, 0: none
  uint64_t offset = 0;
  double weight = 1;
};

struct BoardOptions {
  std::shared_ptr<JobPage> page;  // bells
  std::vector<int> job_ranks;     // group rank -> rank in the job
  int rank = 0;
};

class Board {
 public:
  static constexpr size_t kLines = 64;
  static constexpr size_t kInlineBytes = 48;
  static constexpr size_t kSlotBytes = 16 * 1024;
  static constexpr size_t kTagBytes = 160;

  static size_t byte_count(int rank_count);
  /// `own`: fresh zeroed memory of byte_count(); shows this process's processors there.
  Board(BoardOptions options, Region own);

  const Region& own() const { return memory_[static_cast<size_t>(options_.rank)]; }
  int rank_count() const { return static_cast<int>(options_.job_ranks.size()); }
  bool attached(int peer) const { return layouts_[static_cast<size_t>(peer)] != nullptr; }
  /// A peer's memory. kCorrupt when it is none.
  Status attach(int peer, Region memory);
  /// All peers are attached and every rank can have a processor of its own.
  bool spins() const { return spins_; }

  // --- this rank.

  /// Where entry and payload of `sequence` go before post(); of the slots, the one that `sequence` may use.
  BoardEntry& own_entry(uint64_t sequence) { return own_line(sequence).entry; }
  std::span<std::byte, kInlineBytes> inline_payload(uint64_t sequence) { return own_line(sequence).payload; }
  std::span<std::byte> slot(uint64_t sequence) { return slot_of(options_.rank, sequence); }
  /// Shows what was written for `sequence` and wakes who waits for it. `tag`: for messages, its first 160 bytes are
  /// kept.
  void post(uint64_t sequence, std::string_view tag);
  /// Raises this rank's phase in `sequence`, from 0; everything stored before is visible to who sees it.
  void set_phase(uint64_t sequence, uint64_t phase);

  /// The last thing this rank shows: it posts nothing more.
  void leave();

  // --- peers. What is read of an entry is valid until this rank posts the next sequence.

  bool entered(int peer, uint64_t sequence) const {
    return attached(peer) && line(peer, sequence).stamp.load(std::memory_order_acquire) == sequence + 1;
  }
  /// `peer` left without having entered `sequence`, and never will.
  bool left_before(int peer, uint64_t sequence) const;
  const BoardEntry& entry(int peer, uint64_t sequence) const { return line(peer, sequence).entry; }
  std::string tag(int peer, uint64_t sequence) const;
  const std::byte* inline_payload(int peer, uint64_t sequence) const { return line(peer, sequence).payload.data(); }
  std::span<std::byte> slot_of(int peer, uint64_t sequence) const;
  uint64_t phase(int peer, uint64_t sequence) const {
    return line(peer, sequence).phase.load(std::memory_order_acquire);
  }

  // --- counters for schedules with signals: one per ordered pair.

  void raise_signal(int peer, uint64_t value, double weight);
  struct Signal {
    uint64_t value = 0;
    double weight = 0;
  };
  Signal signal_from(int peer) const;

 private:
  struct alignas(128) Line {
    std::atomic<uint64_t> stamp;  // sequence + 1
    std::atomic<uint64_t> phase;
    BoardEntry entry;
    alignas(8) std::array<std::byte, kInlineBytes> payload;
  };
  struct Layout;
  struct SignalOut;

  Line& line(int rank, uint64_t sequence) const { return lines_[static_cast<size_t>(rank)][sequence % kLines]; }
  Line& own_line(uint64_t sequence) { return line(options_.rank, sequence); }
  SignalOut& signal_out(int owner, int peer) const;
  void use(int rank, Region memory);
  void ring_all();

  const BoardOptions options_;
  std::vector<Region> memory_;    // by group rank
  std::vector<Layout*> layouts_;  // into memory_; null: not attached
  std::vector<Line*> lines_;      // into memory_
  bool spins_ = false;
};

}  // namespace rondo::comm
