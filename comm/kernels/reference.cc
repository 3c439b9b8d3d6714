#include "comm/kernels/reference.h"

#include <bit>
#include <concepts>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>

namespace rondo::comm::reference {
namespace {

// 16-bit floats as their bits; float(x) is exact, construction rounds to nearest, ties to even.
struct Float16 {
  uint16_t bits = 0;
};
struct BFloat16 {
  uint16_t bits = 0;
};

float widened(float value) { return value; }
double widened(double value) { return value; }
template <std::integral T>
T widened(T value) {
  return value;
}
float widened(BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
float widened(Float16 value) {
  const uint32_t sign = (value.bits & 0x8000u) << 16;
  const uint32_t exponent = value.bits >> 10 & 0x1fu;
  const uint32_t fraction = value.bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 0x1f) {
    const uint32_t quiet = fraction == 0 ? 0 : 0x00400000u;
    return std::bit_cast<float>(sign | 0x7f800000u | quiet | fraction << 13);
  }
  return std::bit_cast<float>(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

// value / 2^shift, to nearest, ties to even.
uint32_t shifted(uint32_t value, uint32_t shift) {
  if (shift > 31) return 0;
  const uint32_t kept = value >> shift;
  const uint32_t rest = value & ((uint32_t{1} << shift) - 1);
  const uint32_t half = uint32_t{1} << (shift - 1);
  return kept + (rest > half || (rest == half && (kept & 1) != 0) ? 1 : 0);
}

template <typename Element, typename Accumulator>
Element rounded(Accumulator value) {
  if constexpr (std::same_as<Element, BFloat16>) {
    const auto bits = std::bit_cast<uint32_t>(value);
    if (value != value) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
    return {static_cast<uint16_t>(shifted(bits, 16))};
  } else if constexpr (std::same_as<Element, Float16>) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu))};
    if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 rounds up to 2^16
    if (magnitude >= 0x38800000u) return {static_cast<uint16_t>(sign | shifted(magnitude - 0x38000000u, 13))};
    // Below 2^-14, in units of 2^-24: the significand moves right by what its exponent lacks. (What is below the
    // smallest normal float is far below half a unit.)
    const uint32_t exponent = magnitude >> 23;
    const uint32_t significand = exponent == 0 ? 0 : (magnitude & 0x7fffffu) | 0x800000u;
    return {static_cast<uint16_t>(sign | shifted(significand, 126 - exponent))};
  } else {
    return value;
  }
}

// Integers wrap, as two's complement does: unsigned arithmetic is defined where signed is not, and 64 bits hold no
// promotion to int.
template <typename T>
T sum(T a, T b) {
  if constexpr (std::integral<T>) return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  return static_cast<T>(a + b);
}
template <typename T>
T product(T a, T b) {
  if constexpr (std::integral<T>) return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  return static_cast<T>(a * b);
}

template <typename T>
T combined(ReduceOp op, T a, T b) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kWeightedMean:
      return sum(a, b);
    case ReduceOp::kProduct:
      return product(a, b);
    case ReduceOp::kMin:
      if (a != a) return a;
      return b < a || b != b ? b : a;
    case ReduceOp::kMax:
      if (a != a) return a;
      return b > a || b != b ? b : a;
    case ReduceOp::kBitAnd:
      if constexpr (std::integral<T>) return static_cast<T>(a & b);
      break;
    case ReduceOp::kBitOr:
      if constexpr (std::integral<T>) return static_cast<T>(a | b);
      break;
  }
  return a;
}

template <typename Element>
class Reduction {
 public:
  using Accumulator = decltype(widened(Element{}));

  explicit Reduction(const ReduceMany& request) : request_(request) {}

  void run() const {
    for (int64_t i = 0; i < request_.element_count; ++i) {
      const Element value = result(i);
      for (std::byte* output : request_.outputs) {
        std::memcpy(output + static_cast<size_t>(i) * sizeof(Element), &value, sizeof(Element));
      }
    }
  }

 private:
  std::optional<Accumulator> operand(size_t position, int64_t i) const {
    const std::byte* data = request_.operands[position];
    if (data == nullptr) return {};
    Element value;
    std::memcpy(&value, data + static_cast<size_t>(i) * sizeof(Element), sizeof(Element));
    return widened(value);
  }

  std::optional<Accumulator> tree(size_t begin, size_t end, int64_t i) const {
    if (end - begin == 1) return operand(begin, i);
    const size_t middle = begin + std::bit_floor(end - begin - 1);
    const auto left = tree(begin, middle, i);
    const auto right = tree(middle, end, i);
    if (!left || !right) return left ? left : right;
    return combined(request_.op, *left, *right);
  }

  Element result(int64_t i) const {
    if (request_.operands.empty()) return {};
    const auto whole = tree(0, request_.operands.size(), i);
    if (!whole) return {};
    Accumulator value = *whole;
    if constexpr (std::floating_point<Accumulator>) {
      if (request_.op == ReduceOp::kWeightedMean) {
        if (request_.divisor == 0) return {};
        value = value / static_cast<Accumulator>(request_.divisor);
      }
      const bool orders = request_.op == ReduceOp::kMin || request_.op == ReduceOp::kMax;
      if (!orders && value != value) value = std::numeric_limits<Accumulator>::quiet_NaN();
    }
    return rounded<Element>(value);
  }

  const ReduceMany& request_;
};

template <typename Element>
void widen_all(const std::byte* from, float* to, int64_t element_count) {
  for (int64_t i = 0; i < element_count; ++i) {
    Element value;
    std::memcpy(&value, from + static_cast<size_t>(i) * sizeof(Element), sizeof(Element));
    to[i] = widened(value);
  }
}

template <typename Element>
void narrow_all(const float* from, std::byte* to, int64_t element_count) {
  for (int64_t i = 0; i < element_count; ++i) {
    const auto value = rounded<Element>(from[i]);
    std::memcpy(to + static_cast<size_t>(i) * sizeof(Element), &value, sizeof(Element));
  }
}

}  // namespace

Status reduce_many(const ReduceMany& request) {
  if (!supports(request.dtype, request.op)) return {Code::kUnsupported, "not built"};
  switch (request.dtype) {
    case DType::kFloat32:
      Reduction<float>(request).run();
      break;
    case DType::kFloat64:
      Reduction<double>(request).run();
      break;
    case DType::kFloat16:
      Reduction<Float16>(request).run();
      break;
    case DType::kBFloat16:
      Reduction<BFloat16>(request).run();
      break;
    case DType::kInt32:
      Reduction<int32_t>(request).run();
      break;
    case DType::kInt64:
      Reduction<int64_t>(request).run();
      break;
    case DType::kUInt8:
      Reduction<uint8_t>(request).run();
      break;
  }
  return {};
}

void widen(DType from16, const std::byte* from, float* to, int64_t element_count) {
  from16 == DType::kFloat16 ? widen_all<Float16>(from, to, element_count)
                            : widen_all<BFloat16>(from, to, element_count);
}

void narrow(const float* from, DType to16, std::byte* to, int64_t element_count) {
  to16 == DType::kFloat16 ? narrow_all<Float16>(from, to, element_count)
                          : narrow_all<BFloat16>(from, to, element_count);
}

}  // namespace rondo::comm::reference
