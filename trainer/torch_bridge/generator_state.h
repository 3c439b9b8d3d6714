/// Where a generator of random numbers stands: read and set under its own lock.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace rondo::trainer {

/// LibTorch's default generator of CPU tensors; a handle.
at::Generator default_generator();
at::Tensor state_of(at::Generator generator);
void set_state(at::Generator generator, const at::Tensor& state);

}  // namespace rondo::trainer
