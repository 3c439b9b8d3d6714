/// Element types and reductions that comm knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rondo::comm {

enum class DType : uint8_t { kFloat32, kFloat64, kFloat16, kBFloat16, kInt32, kInt64, kUInt8 };

/// Bytes of one element.
constexpr size_t byte_width(DType type) {
  switch (type) {
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    case DType::kUInt8:
      return 1;
  }
  return 0;
}
constexpr bool is_floating(DType type) {
  return type == DType::kFloat32 || type == DType::kFloat64 || type == DType::kFloat16 || type == DType::kBFloat16;
}
/// "float32" and so on.
std::string_view name(DType type);

/// kWeightedMean: the sum over the ranks whose weight is not 0, divided once by the sum of the weights. Operands are
/// *not* multiplied by their weight: a rank that hands in n times a mean passes the weight n. A rank of weight 0
/// contributes nothing, not even a NaN. All weights 0: the result is 0.
enum class ReduceOp : uint8_t { kSum, kWeightedMean, kMin, kMax, kProduct, kBitAnd, kBitOr };
std::string_view name(ReduceOp op);

}  // namespace rondo::comm
