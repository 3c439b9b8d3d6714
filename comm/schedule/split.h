/// How elements are divided: into one chunk a rank, as evenly as possible, and chunks into segments of bounded length.
/// Pure; any thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rondo/comm/algorithms.h"

namespace rondo::comm {

/// Chunk `index` of `parts`: the first element_count % parts chunks are one element longer. Empty when there are fewer
/// elements than chunks before it.
constexpr Range chunk_of(int64_t element_count, int parts, int index) {
  const int64_t length = element_count / parts;
  const int64_t longer = element_count % parts;
  const int64_t begin = index * length + std::min<int64_t>(index, longer);
  return {.begin = begin, .end = begin + length + (index < longer ? 1 : 0)};
}

/// Segments that the longest of `parts` chunks needs; at least one, so that every chunk has the same number.
constexpr int64_t segment_count(int64_t element_count, int parts, int64_t segment_elements) {
  const int64_t longest = chunk_of(element_count, parts, 0).count();
  return std::max<int64_t>(1, (longest + segment_elements - 1) / segment_elements);
}

/// Segment `index` of `chunk`; empty past the chunk's end.
constexpr Range segment_of(Range chunk, int64_t index, int64_t segment_elements) {
  const int64_t begin = std::min(chunk.end, chunk.begin + index * segment_elements);
  return {.begin = begin, .end = std::min(chunk.end, begin + segment_elements)};
}

/// A segment length that divisions can stand.
constexpr int64_t usable_segment(const ScheduleRequest& request) {
  return std::max<int64_t>(1, request.segment_elements);
}

constexpr bool chunks_tile(int64_t element_count, int parts) {
  int64_t end = 0;
  for (int i = 0; i < parts; ++i) {
    const Range chunk = chunk_of(element_count, parts, i);
    if (chunk.begin != end || chunk.end < chunk.begin) return false;
    end = chunk.end;
  }
  return end == element_count;
}
static_assert(chunks_tile(0, 3) && chunks_tile(2, 3) && chunks_tile(10, 4) && chunks_tile(97, 64));

}  // namespace rondo::comm
