/// Flat buffers of gradients in registered memory, and a tensor for the gradient of each parameter.
///
/// One region holds all buckets of a reducer, for its whole life: a plan only says where in it a gradient lies. The
/// tensors are no views in autograd's sense (zero_grad() detaches gradients in place, which views refuse) but have the
/// strides of their parameter. Each keeps the memory alive, so that a gradient survives the buckets.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "rondo/comm/buffer.h"
#include "rondo/comm/group.h"
#include "trainer/gradient/bucket_plan.h"

namespace rondo::trainer {

/// The shape of a parameter's gradient in a bucket. Complex numbers are two real ones. Empty: comm cannot average it.
std::optional<GradientShape> gradient_shape(const at::Tensor& parameter);

class Buckets {
 public:
  Buckets() = default;
  /// Memory for the gradients of `parameters`, zeroed, with no plan yet; undefined ones have none. kResource when it is
  /// short.
  static comm::Result<Buckets> allocate(comm::Group& group, std::vector<at::Tensor> parameters);

  /// What lay in the memory before has no meaning any more.
  void lay_out(BucketPlan plan);
  const BucketPlan& plan() const { return plan_; }
  const std::vector<GradientShape>& shapes() const { return shapes_; }
  int count() const { return static_cast<int>(plan_.size()); }
  comm::BufferView buffer(int bucket) const;
  /// buffer() as a tensor of one dimension.
  at::Tensor flat(int bucket) const;

  int bucket_of(int parameter) const { return bucket_of_[parameter]; }
  const at::Tensor& gradient(int parameter) const { return gradients_[parameter]; }
  /// True when `tensor` is the gradient of `parameter` in its bucket, with its strides.
  bool holds(int parameter, const at::Tensor& tensor) const;

 private:
  std::vector<at::Tensor> parameters_;
  std::vector<GradientShape> shapes_;     // per parameter
  std::shared_ptr<comm::Region> memory_;  // shared by the gradients
  BucketPlan plan_;
  std::vector<int> bucket_of_;         // per parameter
  std::vector<at::Tensor> gradients_;  // per parameter
};

}  // namespace rondo::trainer
