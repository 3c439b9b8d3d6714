// Worked example. Sizes [3, 2], strides [1, 2] (a window of 3 that moves by 2): addresses 0 1 2, 2 3 4. Sorted by
// stride, the second dimension's 2 is not larger than the first one's reach of 2, so the strides decide nothing. Bits:
// 1 -> spread 3 by 1: 111 -> spread 2 by 2: 111 | 111 << 2 = 11111. 5 addresses for 6 elements.
#include "trainer/check/overlap.h"

#include <algorithm>
#include <bit>
#include <cstddef>

namespace rondo::trainer {
namespace {

struct Dimension {
  int64_t size = 1, stride = 1;
};

/// Those that lead to other addresses, the smallest stride first.
std::vector<Dimension> moving(const StridedMemory& memory) {
  std::vector<Dimension> dimensions;
  for (size_t i = 0; i < memory.sizes.size(); ++i) {
    if (memory.sizes[i] > 1 && memory.strides[i] > 0) {
      dimensions.push_back({.size = memory.sizes[i], .stride = memory.strides[i]});
    }
  }
  std::ranges::sort(dimensions, {}, &Dimension::stride);
  return dimensions;
}

/// The largest offset.
int64_t reach(const std::vector<Dimension>& dimensions) {
  int64_t sum = 0;
  for (const Dimension& d : dimensions) sum += (d.size - 1) * d.stride;
  return sum;
}

/// Each stride passes over all that smaller ones reach: then no two indices meet.
bool nest(const std::vector<Dimension>& sorted) {
  int64_t reached = 0;
  for (const Dimension& d : sorted) {
    if (d.stride <= reached) return false;
    reached += (d.size - 1) * d.stride;
  }
  return true;
}

/// Which offsets are reached, a bit each.
class Offsets {
 public:
  explicit Offsets(const std::vector<Dimension>& dimensions)
      : words_(static_cast<size_t>(reach(dimensions) / kBits + 1)) {
    words_[0] = 1;
    for (const Dimension& d : dimensions) {
      for (int64_t have = 1; have < d.size;) {
        const int64_t more = std::min(have, d.size - have);
        repeat(more * d.stride);
        have += more;
      }
    }
  }

  bool has(int64_t offset) const { return (words_[static_cast<size_t>(offset / kBits)] >> (offset % kBits) & 1U) != 0; }
  int64_t count() const {
    int64_t sum = 0;
    for (const uint64_t word : words_) sum += std::popcount(word);
    return sum;
  }

 private:
  static constexpr int64_t kBits = 64;

  /// Adds what is reached once more, `by` further on. From the top, so that nothing is read after it was written.
  void repeat(int64_t by) {
    const auto whole = static_cast<size_t>(by / kBits);
    const auto rest = static_cast<unsigned>(by % kBits);
    for (size_t i = words_.size(); i-- > whole;) {
      uint64_t shifted = words_[i - whole] << rest;
      if (rest > 0 && i > whole) shifted |= words_[i - whole - 1] >> (kBits - rest);
      words_[i] |= shifted;
    }
  }

  std::vector<uint64_t> words_;
};

/// As bytes: the element itself is the innermost dimension.
std::vector<Dimension> bytes_of(const StridedMemory& memory) {
  std::vector<Dimension> dimensions = moving(memory);
  for (Dimension& d : dimensions) d.stride *= memory.element_bytes;
  if (memory.element_bytes > 1) {
    dimensions.insert(dimensions.begin(), {.size = memory.element_bytes, .stride = 1});
  }
  return dimensions;
}

int64_t different_offsets(const std::vector<Dimension>& sorted) {
  if (!nest(sorted)) return Offsets(sorted).count();
  int64_t count = 1;
  for (const Dimension& d : sorted) count *= d.size;
  return count;
}

}  // namespace

int64_t element_count(const StridedMemory& memory) {
  int64_t count = 1;
  for (const int64_t size : memory.sizes) count *= size;
  return count;
}

int64_t address_count(const StridedMemory& memory) {
  return element_count(memory) == 0 ? 0 : different_offsets(moving(memory));
}

uintptr_t end_of(const StridedMemory& memory) {
  return memory.begin + (element_count(memory) == 0 ? 0 : static_cast<uintptr_t>(reach(bytes_of(memory))) + 1);
}

bool share_memory(const StridedMemory& a, const StridedMemory& b) {
  if (element_count(a) == 0 || element_count(b) == 0) return false;
  const auto of_a = bytes_of(a), of_b = bytes_of(b);
  const uintptr_t begin = std::max(a.begin, b.begin);
  const uintptr_t end = std::min(end_of(a), end_of(b));
  if (begin >= end) return false;
  const auto without_holes = [](const std::vector<Dimension>& bytes) {
    return different_offsets(bytes) == reach(bytes) + 1;
  };
  if (without_holes(of_a) && without_holes(of_b)) return true;
  const Offsets in_a(of_a), in_b(of_b);
  for (uintptr_t at = begin; at < end; ++at) {
    if (in_a.has(static_cast<int64_t>(at - a.begin)) && in_b.has(static_cast<int64_t>(at - b.begin))) return true;
  }
  return false;
}

}  // namespace rondo::trainer
