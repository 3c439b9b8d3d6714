/// Where the elements of a tensor lie.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "trainer/check/overlap.h"

namespace rondo::trainer {

/// Empty for tensors that are not strided or have no elements.
std::optional<StridedMemory> memory_of(const at::Tensor& tensor);
/// "24 elements at 6 addresses", where elements share one; else empty.
std::string self_overlap(const at::Tensor& tensor);
/// "float32 [4, 6] strides [0, 1]".
std::string describe_with_strides(const at::Tensor& tensor);

}  // namespace rondo::trainer
