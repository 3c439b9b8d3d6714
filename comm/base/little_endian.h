/// Integers in the byte order of everything that leaves the process: little-endian, at any alignment.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace rondo::comm {

template <std::unsigned_integral T>
constexpr void put_le(std::byte* at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i));
}

template <std::unsigned_integral T>
constexpr T get_le(const std::byte* at) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= std::to_integer<uint64_t>(at[i]) << (8 * i);
  return static_cast<T>(value);
}

}  // namespace rondo::comm
