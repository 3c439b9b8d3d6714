#include "comm/bench/pattern.h"

#include <bit>
#include <cstring>

namespace rondo::bench {
namespace {

using comm::DType;

constexpr int64_t kChunkBytes = 8192;
constexpr int64_t kCallShift = 31;

constexpr int64_t elements_of(Period period) { return period == Period::kShort ? 5 : 97; }

template <typename T>
void put(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// A whole number below 2048 as IEEE binary16.
uint16_t half_bits(uint32_t value) {
  if (value == 0) return 0;
  const int exponent = std::bit_width(value) - 1;
  const uint32_t fraction = (value << (10 - exponent)) & 0x3ff;
  return static_cast<uint16_t>(static_cast<uint32_t>(exponent + 15) << 10 | fraction);
}

void put_number(DType type, std::byte* to, int64_t value) {
  switch (type) {
    case DType::kFloat32:
      return put(to, static_cast<float>(value));
    case DType::kFloat64:
      return put(to, static_cast<double>(value));
    case DType::kInt32:
      return put(to, static_cast<int32_t>(value));
    case DType::kInt64:
      return put(to, value);
    case DType::kUInt8:
      return put(to, static_cast<uint8_t>(value));
    case DType::kBFloat16:
      return put(to, static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16));
    case DType::kFloat16:
      return put(to, half_bits(static_cast<uint32_t>(value)));
  }
}

}  // namespace

Period period_for(DType type, std::optional<DType> wire) {
  return comm::byte_width(wire.value_or(type)) < 4 ? Period::kShort : Period::kLong;
}

int exact_ranks(Period period) {
  // The largest value is elements_of(period) * n (n + 1) / 2; bfloat16 counts to 256, uint8 to 255, float32 to 2^24.
  return period == Period::kShort ? 9 : 512;
}

Pattern::Pattern(DType type, Period period, int64_t factor)
    : width_(comm::byte_width(type)), period_(elements_of(period)) {
  const int64_t periods = kChunkBytes / (period_ * static_cast<int64_t>(width_));
  const int64_t elements = periods * period_;
  chunk_bytes_ = static_cast<size_t>(elements) * width_;
  table_.resize(static_cast<size_t>(elements + period_) * width_);
  for (int64_t i = 0; i < elements + period_; ++i) {
    put_number(type, table_.data() + static_cast<size_t>(i) * width_, factor * (1 + i % period_));
  }
}

/// What the next at most chunk_bytes_ of a place hold.
std::span<const std::byte> Pattern::chunk_at(Place place, size_t done, size_t left) const {
  const int64_t index = place.first + static_cast<int64_t>(done / width_) + kCallShift * place.call;
  const auto phase = static_cast<size_t>(index % period_) * width_;
  return std::span(table_).subspan(phase, std::min(left, chunk_bytes_));
}

void Pattern::fill(std::span<std::byte> bytes, Place place) const {
  for (size_t done = 0; done < bytes.size();) {
    const auto chunk = chunk_at(place, done, bytes.size() - done);
    std::memcpy(bytes.data() + done, chunk.data(), chunk.size());
    done += chunk.size();
  }
}

int64_t Pattern::count_wrong(std::span<const std::byte> bytes, Place place) const {
  int64_t wrong = 0;
  for (size_t done = 0; done < bytes.size();) {
    const auto chunk = chunk_at(place, done, bytes.size() - done);
    if (std::memcmp(bytes.data() + done, chunk.data(), chunk.size()) != 0) {
      for (size_t at = 0; at < chunk.size(); at += width_) {
        wrong += std::memcmp(bytes.data() + done + at, chunk.data() + at, width_) != 0 ? 1 : 0;
      }
    }
    done += chunk.size();
  }
  return wrong;
}

}  // namespace rondo::bench
