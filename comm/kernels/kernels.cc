#include "comm/kernels/kernels.h"

#include <concepts>
#include <string>

namespace rondo::comm {
namespace {

// Integers wrap, as two's complement does: adding unsigned is defined where adding signed is not.
struct Sum {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::same_as<T, int64_t>) {
      return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    } else {
      return static_cast<T>(a + b);
    }
  }
};

// A NaN wins over every number, the left one over the right one; of equal values the left one stays.
struct Min {
  template <typename T>
  T operator()(T a, T b) const {
    if (a != a) return a;
    return b < a || b != b ? b : a;
  }
};
struct Max {
  template <typename T>
  T operator()(T a, T b) const {
    if (a != a) return a;
    return b > a || b != b ? b : a;
  }
};

struct BitOr {
  template <std::integral T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};

template <typename T, typename Op>
void each(const std::byte* a, const std::byte* b, std::byte* into, int64_t element_count) {
  const T* left = reinterpret_cast<const T*>(a);
  const T* right = reinterpret_cast<const T*>(b);
  T* result = reinterpret_cast<T*>(into);
  for (int64_t i = 0; i < element_count; ++i) result[i] = Op{}(left[i], right[i]);
}

template <typename T>
void divide_each(std::byte* bytes, int64_t element_count, double divisor) {
  T* values = reinterpret_cast<T*>(bytes);
  const T by = static_cast<T>(divisor);
  for (int64_t i = 0; i < element_count; ++i) values[i] = divisor == 0 ? T{0} : values[i] / by;
}

using Loop = void (*)(const std::byte*, const std::byte*, std::byte*, int64_t);

template <typename T>
Loop loop_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return each<T, Sum>;
    case ReduceOp::kMin:
      return each<T, Min>;
    case ReduceOp::kMax:
      return each<T, Max>;
    case ReduceOp::kWeightedMean:
      if constexpr (std::floating_point<T>) return each<T, Sum>;
      return nullptr;
    case ReduceOp::kBitOr:
      if constexpr (std::integral<T>) return each<T, BitOr>;
      return nullptr;
    case ReduceOp::kProduct:
    case ReduceOp::kBitAnd:
      return nullptr;
  }
  return nullptr;
}

/// The one table of what is built.
Loop find_loop(DType type, ReduceOp op) {
  switch (type) {
    case DType::kFloat32:
      return loop_of<float>(op);
    case DType::kFloat64:
      return loop_of<double>(op);
    case DType::kInt64:
      return loop_of<int64_t>(op);
    case DType::kUInt8:
      return loop_of<uint8_t>(op);
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kInt32:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

Status reduce(DType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* into, int64_t element_count) {
  const Loop loop = find_loop(type, op);
  if (loop == nullptr) {
    return {Code::kUnsupported, "no " + std::string(name(op)) + " for " + std::string(name(type)) +
                                    ": sum, min and max exist for float32, float64, int64 and uint8, weighted mean for "
                                    "float32 and float64, bit-or for int64 and uint8; convert the values first"};
  }
  loop(a, b, into, element_count);
  return {};
}

Status divide(DType type, std::byte* values, int64_t element_count, double divisor) {
  switch (type) {
    case DType::kFloat32:
      divide_each<float>(values, element_count, divisor);
      return {};
    case DType::kFloat64:
      divide_each<double>(values, element_count, divisor);
      return {};
    default:
      return {Code::kUnsupported, "no division for " + std::string(name(type)) +
                                      ": a mean exists for float32 and float64; convert the values first"};
  }
}

bool supports(DType type, ReduceOp op) { return find_loop(type, op) != nullptr; }

}  // namespace rondo::comm
