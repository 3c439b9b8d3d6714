/// Which samples a rank sees, and when: pure functions of (seed, epoch, step, rank, world size).
///
/// Training: one permutation of all samples a (seed, epoch). Step t takes positions [t*G, (t+1)*G) of it, G the global
/// batch; rank r takes the r-th slice of these. The last batch of an epoch may be short: it is dealt out as evenly as
/// possible and its ranks count by their number of samples. Each sample is seen exactly once an epoch.
/// Evaluation: fixed blocks of samples, dealt to ranks in turn. Nothing is padded, and because the borders of the
/// blocks do not depend on the number of ranks, neither does any logit.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rondo::trainer {

/// Positions [first, last).
struct Range {
  int64_t first = 0;
  int64_t last = 0;
  int64_t count() const { return last - first; }
  bool operator==(const Range&) const = default;
};

/// Where training stands: the next step to take. Part of every checkpoint.
struct Cursor {
  int64_t epoch = 0;
  int64_t step = 0;  // in this epoch
  bool operator==(const Cursor&) const = default;
};

struct EpochKey {
  uint64_t seed = 0;
  int64_t epoch = 0;
};

/// The order of `sample_count` samples in an epoch: Fisher-Yates over a counter-based generator, the same on every
/// machine.
std::vector<int64_t> permutation(EpochKey key, int64_t sample_count);

/// Whether this sample is mirrored in this epoch. It does not depend on rank or step, so resuming needs no generator
/// state.
bool flipped(EpochKey key, int64_t sample);

/// xxHash (XXH3, 64 bits, 16 hexadecimal digits) of the indices, as little-endian 64-bit numbers: what `order_hash` is.
std::string order_hash(std::span<const int64_t> indices);

struct BatchPlan {
  int64_t sample_count = 0;
  int64_t batch = 1;  // per rank
  int world_size = 1;

  int64_t global_batch() const { return batch * world_size; }
  int64_t steps_per_epoch() const { return (sample_count + global_batch() - 1) / global_batch(); }
  /// Positions that all ranks take together in step `step`.
  Range global_range(int64_t step) const;
  /// The slice of `rank`; empty for some ranks when the last batch has fewer samples than ranks.
  Range rank_range(int64_t step, int rank) const;
};

inline constexpr int64_t kEvaluationBlock = 250;

/// The blocks of samples that `rank` evaluates.
std::vector<Range> evaluation_blocks(int64_t sample_count, int rank, int world_size);

}  // namespace rondo::trainer
