#include "comm/schedule/traced_memory.h"

#include <iterator>

namespace rondo::comm {

TracedMemory::TracedMemory(int rank, int64_t element_count) : element_count_(element_count) {
  if (element_count > 0) cells_[0] = {.end = element_count, .writer = {.rank = rank, .time = kStart}, .readers = {}};
}

TracedMemory::Cells::iterator TracedMemory::split(int64_t position) {
  const auto after = cells_.lower_bound(position);
  if (position == element_count_ || (after != cells_.end() && after->first == position)) return after;
  Cell& left = std::prev(after)->second;
  Cell right = left;
  if (right.expression != kNothing) right.first_index += position - std::prev(after)->first;
  left.end = position;
  return cells_.emplace_hint(after, position, std::move(right));
}

TracedMemory::Slice TracedMemory::slice(Range range) {
  const auto begin = split(range.begin);
  return {.begin = begin, .end = split(range.end)};
}

void TracedMemory::write(Range range, const std::vector<Piece>& pieces, Event writer) {
  const Slice old = slice(range);
  const auto after = cells_.erase(old.begin, old.end);
  int64_t begin = range.begin;
  for (const Piece& piece : pieces) {
    Cell cell{.end = begin + piece.count,
              .expression = piece.expression,
              .first_index = piece.first_index,
              .writer = writer,
              .readers = {}};
    cells_.emplace_hint(after, begin, std::move(cell));
    begin += piece.count;
  }
}

}  // namespace rondo::comm
