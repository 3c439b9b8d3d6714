/// Makes sure that all ranks wrapped the same model, and that it holds the same values.
#pragma once

#include <vector>

#include "rondo/comm/collectives.h"
#include "rondo/comm/group.h"
#include "rondo/comm/status.h"
#include "trainer/gradient/model_table.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// "float32 [3, 4]", with strides where they are not row-major, and "frozen" where no gradient is wanted.
std::string describe_parameter(const at::Tensor& parameter);

/// Collective. kMismatch on every rank, with the same words, when one table differs from rank 0's.
comm::Status compare_models(comm::Group& group, const ModelTable& mine);

/// Collective. Gives every rank the bytes of `root`, any dtype, below autograd and its version counters. Small tensors
/// travel together.
comm::Status broadcast_tensors(comm::Group& group, const std::vector<NamedTensor>& tensors, const std::string& what,
                               comm::Root root = {.rank = 0});

}  // namespace rondo::trainer
