/// The mean over all ranks of a sparse gradient, without making it dense: rows that nobody touched never travel.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "rondo/comm/group.h"
#include "rondo/comm/status.h"

namespace rondo::trainer {

struct SparseOperand {
  at::Tensor gradient;  // sparse, or dense, or undefined: this rank has none
  double weight = 1;    // of this rank; 0: its values are not looked at
};

/// Collective. The sum over ranks, divided by the sum of their weights, coalesced, bit-equal on every rank; the sum is
/// made in rank order. `parameter` gives shape and dtype; its first dimension is the sparse one, as in embeddings.
/// Cost: two numbers of every rank, then the longest list of indices and values of everybody to everybody.
comm::Result<at::Tensor> sparse_mean(comm::Group& group, const SparseOperand& mine, const at::Tensor& parameter,
                                     const std::string& tag);

}  // namespace rondo::trainer
