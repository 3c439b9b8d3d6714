/// Rows of all ranks in one tensor, and how many came from each.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "rondo/job.h"

namespace rondo::trainer {

struct GatheredRows {
  at::Tensor rows;              // in rank order
  std::vector<int64_t> counts;  // per rank
};
/// Collective. Throws kMismatch on all ranks, naming two, when rows differ in dtype or in shape behind the first
/// dimension.
GatheredRows gather_rows(const Job& job, const at::Tensor& rows);

}  // namespace rondo::trainer
