#include "trainer/torch_bridge/tensor_view.h"

#include "rondo/comm/check.h"

namespace rondo::trainer {

std::optional<comm::DType> comm_dtype(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return comm::DType::kFloat32;
    case at::kDouble:
      return comm::DType::kFloat64;
    case at::kHalf:
      return comm::DType::kFloat16;
    case at::kBFloat16:
      return comm::DType::kBFloat16;
    case at::kInt:
      return comm::DType::kInt32;
    case at::kLong:
      return comm::DType::kInt64;
    case at::kByte:
      return comm::DType::kUInt8;
    default:
      return std::nullopt;
  }
}

at::ScalarType torch_dtype(comm::DType dtype) {
  switch (dtype) {
    case comm::DType::kFloat32:
      return at::kFloat;
    case comm::DType::kFloat64:
      return at::kDouble;
    case comm::DType::kFloat16:
      return at::kHalf;
    case comm::DType::kBFloat16:
      return at::kBFloat16;
    case comm::DType::kInt32:
      return at::kInt;
    case comm::DType::kInt64:
      return at::kLong;
    case comm::DType::kUInt8:
      return at::kByte;
  }
  return at::kByte;
}

std::string dtype_name(at::ScalarType type) {
  if (const auto known = comm_dtype(type)) return std::string(comm::name(*known));
  if (type == at::kBool) return "bool";
  return c10::toString(type);
}

std::string describe(const at::Tensor& tensor) {
  std::string text = dtype_name(tensor.scalar_type()) + " [";
  for (int64_t i = 0; i < tensor.dim(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(tensor.size(i));
  return text + "]";
}

bool is_dense(const at::Tensor& tensor) {
  return tensor.layout() == at::kStrided && tensor.is_non_overlapping_and_dense();
}

comm::BufferView view_of(const at::Tensor& tensor) {
  const auto dtype = comm_dtype(tensor.scalar_type());
  RONDO_CHECK(dtype.has_value(), "a tensor of this dtype has no view of numbers");
  RONDO_CHECK(is_dense(tensor) && tensor.is_cpu(), "only a dense CPU tensor can become a buffer");
  return {tensor.mutable_data_ptr(), tensor.numel(), *dtype};
}

comm::BufferView bytes_of(const at::Tensor& tensor) {
  RONDO_CHECK(is_dense(tensor) && tensor.is_cpu(), "only a dense CPU tensor can become a buffer");
  return {tensor.mutable_data_ptr(), static_cast<int64_t>(tensor.nbytes()), comm::DType::kUInt8};
}

}  // namespace rondo::trainer
