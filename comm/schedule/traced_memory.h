/// The memory of one rank as the checker sees it: which ordered sum each range of elements holds, who wrote it and who
/// has read it since. Ranges that nothing has told apart stay one cell, so the cost follows the actions, not the
/// elements. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "comm/schedule/expressions.h"
#include "rondo/comm/schedule.h"

namespace rondo::comm {

/// Something a rank does: it starts, with its input in place, then come its actions.
struct Event {
  int rank = 0;
  uint32_t time = 0;
};
inline constexpr uint32_t kStart = 1;
constexpr uint32_t time_of(size_t action_index) { return kStart + 1 + static_cast<uint32_t>(action_index); }
constexpr size_t action_index(Event event) { return event.time - kStart - 1; }

/// `count` elements in a row: element i of them is `expression` over the ranks' elements `first_index` + i.
struct Piece {
  int64_t count = 0;
  Expression expression = kNothing;
  int64_t first_index = 0;
};

/// A reader: an event, or a message whose bytes may be taken until it is received.
struct Reader {
  Event event;
  int message = -1;
};

class TracedMemory {
 public:
  struct Cell {
    int64_t end = 0;
    Expression expression = kNothing;
    int64_t first_index = 0;
    Event writer;
    std::vector<Reader> readers;  // since the last write
  };
  using Cells = std::map<int64_t, Cell>;  // begin -> cell; without gaps

  TracedMemory(int rank, int64_t element_count);

  int64_t element_count() const { return element_count_; }
  const Cells& cells() const { return cells_; }

  /// The cells of exactly `range`, split at its ends.
  struct Slice {
    Cells::iterator begin;
    Cells::iterator end;
  };
  Slice slice(Range range);

  /// What `range` holds.
  std::vector<Piece> pieces(Range range);
  /// `range` now holds `pieces` and has no readers.
  void write(Range range, const std::vector<Piece>& pieces, Event writer);

 private:
  Cells::iterator split(int64_t position);

  const int64_t element_count_;
  Cells cells_;
};

}  // namespace rondo::comm
