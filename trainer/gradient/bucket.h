/// A flat buffer of gradients in registered memory, and a tensor for each slot of it.
///
/// The tensors are no views in autograd's sense (zero_grad() detaches gradients in place, which views refuse) but have
/// the strides of their parameter. Each keeps the memory alive, so that a gradient survives the bucket.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "rondo/comm/buffer.h"
#include "rondo/comm/group.h"
#include "trainer/gradient/bucket_plan.h"

namespace rondo::trainer {

class Bucket {
 public:
  /// `parameters` are all of the plan's. kResource when memory is short. The memory is zeroed.
  static comm::Result<Bucket> create(comm::Group& group, const BucketLayout& layout,
                                     const std::vector<at::Tensor>& parameters, const std::string& purpose);

  const BucketLayout& layout() const { return layout_; }
  comm::BufferView buffer() const { return buffer_; }
  /// The gradient of slot `slot`.
  const at::Tensor& gradient(int slot) const { return gradients_[slot]; }
  /// True when `tensor` lies in slot `slot` with the slot's strides.
  bool holds(int slot, const at::Tensor& tensor) const;

 private:
  BucketLayout layout_;
  comm::BufferView buffer_;
  std::vector<at::Tensor> gradients_;
};

}  // namespace rondo::trainer
