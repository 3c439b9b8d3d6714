#include "trainer/data/sample_order.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <numeric>
#include <utility>

namespace rondo::trainer {
namespace {

// The byte order of a hash must not depend on the machine; all platforms we build for are little-endian.
static_assert(std::endian::native == std::endian::little);

/// SplitMix64's finaliser: a bijection of 64-bit numbers that mixes every bit.
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15U;

enum class Purpose : uint64_t { kOrder = 1, kFlip = 2 };

/// One stream of numbers a (seed, epoch, purpose).
constexpr uint64_t stream(EpochKey key, Purpose purpose) {
  return mix(mix(mix(key.seed + kGolden) + static_cast<uint64_t>(key.epoch) * kGolden) +
             static_cast<uint64_t>(purpose));
}
constexpr uint64_t draw(uint64_t stream_key, uint64_t counter) { return mix(stream_key + (counter + 1) * kGolden); }

/// A number in [0, bound): the high half of a product. The bias is below bound / 2^64.
uint64_t below(uint64_t random, uint64_t bound) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>((static_cast<Wide>(random) * bound) >> 64);
}

}  // namespace

std::vector<int64_t> permutation(EpochKey key, int64_t sample_count) {
  std::vector<int64_t> order(static_cast<size_t>(sample_count));
  std::iota(order.begin(), order.end(), int64_t{0});
  const uint64_t numbers = stream(key, Purpose::kOrder);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(draw(numbers, i), i)]);
  return order;
}

bool flipped(EpochKey key, int64_t sample) {
  return (draw(stream(key, Purpose::kFlip), static_cast<uint64_t>(sample)) >> 63) != 0;
}

std::string order_hash(std::span<const int64_t> indices) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(indices.data(), indices.size_bytes())));
  return text.data();
}

Range BatchPlan::global_range(int64_t step) const {
  return {.first = std::min(step * global_batch(), sample_count),
          .last = std::min((step + 1) * global_batch(), sample_count)};
}

Range BatchPlan::rank_range(int64_t step, int rank) const {
  const Range all = global_range(step);
  return {.first = all.first + all.count() * rank / world_size,
          .last = all.first + all.count() * (rank + 1) / world_size};
}

std::vector<Range> evaluation_blocks(int64_t sample_count, int rank, int world_size) {
  std::vector<Range> blocks;
  for (int64_t first = rank * kEvaluationBlock; first < sample_count; first += world_size * kEvaluationBlock) {
    blocks.push_back({.first = first, .last = std::min(first + kEvaluationBlock, sample_count)});
  }
  return blocks;
}

}  // namespace rondo::trainer
