/// Borrowed memory with a shape: what collectives work on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "rondo/comm/dtype.h"

namespace rondo::comm {

/// `element_count` elements of `dtype` at `data`; not owned. `data` may be null when element_count is 0.
struct BufferView {
  void* data = nullptr;
  int64_t element_count = 0;
  DType dtype = DType::kFloat32;

  size_t byte_count() const { return static_cast<size_t>(element_count) * byte_width(dtype); }
  std::byte* bytes() const { return static_cast<std::byte*>(data); }
};

namespace detail {
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kFloat32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kFloat64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kInt32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::kInt64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kUInt8;
};
}  // namespace detail

/// A view of a contiguous container of float, double, int32_t, int64_t or uint8_t.
template <typename Container>
BufferView view(Container& values) {
  using T = std::remove_cvref_t<decltype(*std::data(values))>;
  return {std::data(values), static_cast<int64_t>(std::size(values)), detail::DTypeOf<T>::value};
}

}  // namespace rondo::comm
