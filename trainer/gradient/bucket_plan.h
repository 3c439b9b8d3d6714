/// Which parameter's gradient lies in which bucket, at which offset, and in which order buckets are launched. Pure:
/// every rank that computes it from the same inputs has the same plan.
///
/// The order is that in which gradients were seen to arrive; those that did not come follow in reverse order of
/// registration, which is roughly that of backward. The first bucket is small, so that the first launch comes early;
/// the last one is small, so that little is left to do when backward ends.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rondo/comm/dtype.h"

namespace rondo::trainer {

struct GradientShape {
  comm::DType dtype = comm::DType::kFloat32;
  int64_t element_count = 0;
};

struct BucketCaps {
  int64_t bucket_bytes = int64_t{25} << 20;
  int64_t edge_bytes = int64_t{1} << 20;  // of the first and the last bucket
};

struct Slot {
  int parameter = 0;
  int64_t offset = 0;  // in elements; a multiple of kSlotAlignmentBytes
  bool operator==(const Slot&) const = default;
};

struct BucketLayout {
  comm::DType dtype = comm::DType::kFloat32;
  std::vector<Slot> slots;
  int64_t element_count = 0;  // with the gaps that alignment leaves
  int64_t byte_offset = 0;    // in the memory of all buckets
  bool operator==(const BucketLayout&) const = default;
};

using BucketPlan = std::vector<BucketLayout>;  // in launch order

/// Vector kernels read and write whole cache lines of a gradient.
inline constexpr int64_t kSlotAlignmentBytes = 64;

/// count-1, ..., 1, 0.
std::vector<int> reverse_order(int count);
/// `observed` without repetitions, then the parameters it lacks, in the order of `fallback`.
std::vector<int> complete_order(std::span<const int> observed, std::span<const int> fallback);

/// Bytes of all buckets together, whatever the order and the caps.
int64_t byte_count(std::span<const GradientShape> shapes);

/// Packs the parameters in `order` (each index of `shapes` once). A bucket holds one dtype and at most its cap, unless
/// a single gradient is larger.
BucketPlan make_bucket_plan(std::span<const GradientShape> shapes, std::span<const int> order, BucketCaps caps);

}  // namespace rondo::trainer
