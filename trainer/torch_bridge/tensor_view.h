/// The only place that turns tensors into comm's buffers.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "rondo/comm/buffer.h"

namespace rondo::trainer {

/// Empty: comm has no such element type (bool, complex, ...).
std::optional<comm::DType> comm_dtype(at::ScalarType type);
at::ScalarType torch_dtype(comm::DType dtype);
/// "float32", "bool" and so on: comm's and Python's word.
std::string dtype_name(at::ScalarType type);
/// "float32 [64, 32, 3, 3]".
std::string describe(const at::Tensor& tensor);

/// True when the elements fill one stretch of memory without holes, in any order of dimensions.
bool is_dense(const at::Tensor& tensor);

/// A dense CPU tensor as numbers. Its dtype must be one of comm's (RONDO_CHECK).
comm::BufferView view_of(const at::Tensor& tensor);
/// A dense CPU tensor as bytes; any dtype.
comm::BufferView bytes_of(const at::Tensor& tensor);

}  // namespace rondo::trainer
