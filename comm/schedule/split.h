/// How chunks (rondo/comm/schedule.h) and other ranges are divided further: into parts, and into segments of bounded
/// length. Pure; any thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rondo/comm/schedule.h"

namespace rondo::comm {

/// Part `index` of `parts` of `whole`.
constexpr Range part_of(Range whole, int parts, int index) {
  const Range part = chunk_of(whole.count(), parts, index);
  return {.begin = whole.begin + part.begin, .end = whole.begin + part.end};
}

/// Segments that the longest of `parts` chunks needs; at least one, so that every chunk has the same number.
constexpr int64_t segment_count(int64_t element_count, int parts, int64_t segment_elements) {
  const int64_t longest = chunk_of(element_count, parts, 0).count();
  return std::max<int64_t>(1, (longest + segment_elements - 1) / segment_elements);
}

/// Segment `index` of `chunk`; empty outside of the chunk.
constexpr Range segment_of(Range chunk, int64_t index, int64_t segment_elements) {
  const int64_t begin = std::min(chunk.end, chunk.begin + index * segment_elements);
  return {.begin = begin, .end = std::min(chunk.end, begin + segment_elements)};
}

/// About how many actions a rank's schedule may have; more only where messages would not hold longer segments.
inline constexpr int64_t kMostActions = 64 * 1024;

/// What is cut into segments, and what a segment costs.
struct Cut {
  int64_t longest = 0;                // elements of the longest range that is cut
  int64_t segment_elements = 1;       // as wanted
  int64_t most_elements = INT64_MAX;  // what a message holds
  int64_t actions_per_segment = 1;    // of one rank, about
};

/// A segment length that divisions can stand: no longer than what is cut or what a message holds, and longer than
/// wanted where the actions would become too many.
constexpr int64_t usable_segment(const Cut& cut) {
  const int64_t most = std::max<int64_t>(1, kMostActions / std::max<int64_t>(1, cut.actions_per_segment));
  const int64_t least = std::max<int64_t>(1, (cut.longest + most - 1) / most);
  return std::clamp<int64_t>(std::min(cut.segment_elements, cut.longest), std::min(least, cut.most_elements),
                             std::max<int64_t>(1, cut.most_elements));
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
static_assert(chunks_tile((int64_t{1} << 40) - 1, 64));
static_assert(usable_segment({.longest = 100, .segment_elements = 0}) == 1);
static_assert(usable_segment({.longest = 0, .segment_elements = 30}) == 1);
static_assert(usable_segment({.longest = 7, .segment_elements = 30}) == 7);
static_assert(usable_segment({.longest = 100, .segment_elements = 30, .actions_per_segment = 5}) == 30);
static_assert(usable_segment({.longest = int64_t{1} << 40, .segment_elements = 30, .actions_per_segment = 64}) ==
              int64_t{1} << 30);
static_assert(usable_segment({.longest = 100, .segment_elements = 100, .most_elements = 30}) == 30);
static_assert(usable_segment({.longest = int64_t{1} << 40,
                              .segment_elements = 30,
                              .most_elements = int64_t{1} << 23,
                              .actions_per_segment = 64}) == int64_t{1} << 23);

}  // namespace rondo::comm
