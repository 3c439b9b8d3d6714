/// Elements for the tests of kernels: every kind of value that arithmetic treats differently, in buffers that begin at
/// an element but at no vector, and a loop over the instruction sets of this CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "comm/kernels/kernels.h"
#include "hwy/targets.h"

namespace rondo::comm {

inline constexpr DType kAllTypes[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                                      DType::kInt32,   DType::kInt64,   DType::kUInt8};
inline constexpr ReduceOp kAllOps[] = {ReduceOp::kSum,     ReduceOp::kWeightedMean, ReduceOp::kMin,  ReduceOp::kMax,
                                       ReduceOp::kProduct, ReduceOp::kBitAnd,       ReduceOp::kBitOr};

/// `element_count` elements that begin `offset` elements after a line of 64 bytes, between guards that must not change.
class Elements {
 public:
  Elements(DType type, int64_t element_count, size_t offset)
      : bytes_(static_cast<size_t>(element_count) * byte_width(type)),
        room_(bytes_ + 3 * 64 + offset * byte_width(type), kGuard) {
    const auto address = reinterpret_cast<uintptr_t>(room_.data());
    begin_ = 64 + (64 - address % 64) % 64 + offset * byte_width(type);
  }
  Elements(const Elements&) = delete;
  Elements& operator=(const Elements&) = delete;
  Elements(Elements&&) = default;
  Elements& operator=(Elements&&) = default;

  std::byte* data() { return room_.data() + begin_; }
  const std::byte* data() const { return room_.data() + begin_; }
  size_t byte_count() const { return bytes_; }
  void copy_from(const Elements& other) { std::memcpy(data(), other.data(), bytes_); }
  bool same_bits(const Elements& other) const { return std::memcmp(data(), other.data(), bytes_) == 0; }
  bool guards_are_whole() const {
    for (size_t i = 0; i < room_.size(); ++i) {
      if ((i < begin_ || i >= begin_ + bytes_) && room_[i] != kGuard) return false;
    }
    return true;
  }

 private:
  static constexpr std::byte kGuard{0xa5};
  size_t bytes_;
  std::vector<std::byte> room_;
  size_t begin_ = 0;
};

/// The bits of special values of a floating type: zeros, denormals, ones, largest, infinite, quiet and signalling NaN.
inline std::vector<uint64_t> special_bits(DType type) {
  switch (type) {
    case DType::kFloat32:
      return {0,          1,          0x80000001, 0x007fffff, 0x00800000, 0x3f800000,
              0xbf800000, 0x80000000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
              0x7fc00000, 0xffc12345, 0x7f812345, 0xff800001, 0x33800000, 0x40490fdb};
    case DType::kFloat64:
      return {0,
              1,
              0x8000000000000001,
              0x000fffffffffffff,
              0x0010000000000000,
              0x3ff0000000000000,
              0xbff0000000000000,
              0x8000000000000000,
              0x7fefffffffffffff,
              0xffefffffffffffff,
              0x7ff0000000000000,
              0xfff0000000000000,
              0x7ff8000000000000,
              0xfff8000012345678,
              0x7ff0000012345678,
              0x3ca0000000000000,
              0x400921fb54442d18};
    case DType::kFloat16:
      return {0,      1,      0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x8000, 0x7bff,
              0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe12, 0x7c01, 0xfd34, 0x1000, 0x4248};
    case DType::kBFloat16:
      return {0,      1,      0x8001, 0x007f, 0x0080, 0x3f80, 0xbf80, 0x8000, 0x7f7f,
              0xff7f, 0x7f80, 0xff80, 0x7fc0, 0xffc1, 0x7f81, 0xffa2, 0x3380, 0x4049};
    default:
      return {0, 1, ~uint64_t{0}, uint64_t{1} << 63, ~(uint64_t{1} << 63), uint64_t{1} << 31, 0x7fffffff, 0x80, 0x7f};
  }
}

/// Bits that differ by operand and index, in turn: a special value; any bit pattern; a number between 1 and 4 of either
/// sign, so that sums have to round.
inline uint64_t drawn_bits(DType type, uint64_t operand, uint64_t index) {
  uint64_t x = (operand + 1) * 0x9e3779b97f4a7c15 + index * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  x ^= x >> 31;
  if (index % 3 == 0) {
    const std::vector<uint64_t> special = special_bits(type);
    return special[x % special.size()];
  }
  if (index % 3 == 1 || !is_floating(type)) return x;
  const int exponent_at = type == DType::kFloat64   ? 52
                          : type == DType::kFloat32 ? 23
                          : type == DType::kFloat16 ? 10
                                                    : 7;
  const uint64_t bias = type == DType::kFloat64 ? 1023 : type == DType::kFloat16 ? 15 : 127;
  const uint64_t sign = (x >> 63) << (byte_width(type) * 8 - 1);
  return sign | ((bias << exponent_at) + x % (uint64_t{1} << (exponent_at + 1)));
}

inline Elements make_elements(DType type, int64_t element_count, size_t operand) {
  Elements elements(type, element_count, operand * 3 % 7);
  for (int64_t i = 0; i < element_count; ++i) {
    const uint64_t bits = drawn_bits(type, operand, static_cast<uint64_t>(i));
    std::memcpy(elements.data() + static_cast<size_t>(i) * byte_width(type), &bits, byte_width(type));
  }
  return elements;
}

/// Calls `body` once for each instruction set that the kernels were built for and this CPU has; returns their names.
inline std::vector<std::string> for_each_target(const std::function<void(const std::string&)>& body) {
  std::vector<std::string> seen;
  for (int64_t left = hwy::SupportedTargets() | HWY_SCALAR; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    hwy::SetSupportedTargetsForTest(target);
    const std::string chosen(kernel_target());
    if (chosen == hwy::TargetName(target)) {
      seen.push_back(chosen);
      body(chosen);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  return seen;
}

}  // namespace rondo::comm
