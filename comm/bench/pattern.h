/// Inputs and expected results of timed calls in closed form: element i of rank r in call c is
/// (r + 1) * (1 + (i + 31 c) mod P), P prime. Different for every rank, index and call, so that a lost, misplaced or
/// stale element is seen; a whole number small enough to be exact in the element type.
///
/// Written from a table that fits the first-level cache: filling costs about what storing costs. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rondo/comm/dtype.h"

namespace rondo::bench {

/// How often the pattern repeats: kShort where a type has few exact whole numbers.
enum class Period : uint8_t { kLong, kShort };
/// For data of `type`, whose sums travel in `wire` if that is given.
Period period_for(comm::DType type, std::optional<comm::DType> wire);
/// Ranks for which sums are exact.
int exact_ranks(Period period);

/// `factor` times the pattern of one element type.
class Pattern {
 public:
  /// `factor`: rank + 1 for a rank's input; the sum of those for a sum.
  Pattern(comm::DType type, Period period, int64_t factor);

  /// `bytes` are whole elements, the first of which has index `first`.
  struct Place {
    int64_t call = 0;
    int64_t first = 0;
  };
  void fill(std::span<std::byte> bytes, Place place) const;
  /// How many elements differ from the pattern.
  int64_t count_wrong(std::span<const std::byte> bytes, Place place) const;

 private:
  std::span<const std::byte> chunk_at(Place place, size_t done, size_t left) const;

  // Constant after construction.
  const size_t width_;
  const int64_t period_;
  size_t chunk_bytes_ = 0;  // whole periods
  std::vector<std::byte> table_;
};

/// 1 + 2 + ... + n: the factor of a sum over n ranks.
constexpr int64_t sum_factor(int world_size) { return int64_t{world_size} * (world_size + 1) / 2; }

}  // namespace rondo::bench
