#include "comm/bench/pattern.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace rondo::bench {
namespace {

using comm::DType;

/// The element as the type's own arithmetic sees it.
double number_at(DType type, const std::byte* at) {
  const auto load = [&]<typename T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (type) {
    case DType::kFloat32:
      return load(0.0F);
    case DType::kFloat64:
      return load(0.0);
    case DType::kInt32:
      return load(int32_t{});
    case DType::kInt64:
      return static_cast<double>(load(int64_t{}));
    case DType::kUInt8:
      return load(uint8_t{});
    case DType::kBFloat16:
      return std::bit_cast<float>(static_cast<uint32_t>(load(uint16_t{})) << 16);
    case DType::kFloat16: {
      const uint16_t bits = load(uint16_t{});
      return std::ldexp(1.0 + (bits & 0x3ff) / 1024.0, (bits >> 10) - 15);
    }
  }
  return -1;
}

int64_t expected(DType type, int64_t factor, int64_t call, int64_t index) {
  const int64_t period = comm::byte_width(type) < 4 ? 5 : 97;
  return factor * (1 + (index + 31 * call) % period);
}

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                            DType::kInt32,   DType::kInt64,   DType::kUInt8};
// One past the table's chunk of 8 KiB, and around it.
constexpr int64_t kCounts[] = {0, 1, 96, 97, 98, 1021, 8193};

TEST(Pattern, IsItsClosedFormInEveryType) {
  for (const DType type : kTypes) {
    const size_t width = comm::byte_width(type);
    for (const int64_t count : kCounts) {
      for (const int64_t call : {0, 1, 7, 1000}) {
        for (const int64_t first : {0, 1, 4099}) {
          std::vector<std::byte> bytes(static_cast<size_t>(count) * width);
          Pattern(type, period_for(type, {}), 3).fill(bytes, {.call = call, .first = first});
          for (int64_t i = 0; i < count; ++i) {
            ASSERT_EQ(number_at(type, bytes.data() + static_cast<size_t>(i) * width),
                      expected(type, 3, call, first + i))
                << name(type) << " element " << i << " call " << call << " first " << first;
          }
        }
      }
    }
  }
}

TEST(Pattern, SumsOfAsManyRanksAsItAllowsAreExact) {
  for (const DType type : kTypes) {
    const int n = exact_ranks(period_for(type, {}));
    const size_t width = comm::byte_width(type);
    std::vector<std::byte> sum(5 * width);
    Pattern(type, period_for(type, {}), sum_factor(n)).fill(sum, {});
    for (int64_t i = 0; i < 5; ++i) {
      double added = 0;
      for (int rank = 0; rank < n; ++rank) added += static_cast<double>(expected(type, rank + 1, 0, i));
      EXPECT_EQ(number_at(type, sum.data() + static_cast<size_t>(i) * width), added) << name(type) << " element " << i;
    }
  }
}

TEST(Pattern, OfFloatsThatTravelNarrowerIsExactInTheWireType) {
  const Period period = period_for(DType::kFloat32, DType::kBFloat16);
  std::vector<std::byte> sum(5 * sizeof(float));
  Pattern(DType::kFloat32, period, sum_factor(exact_ranks(period))).fill(sum, {});
  for (int64_t i = 0; i < 5; ++i) {
    const auto value = static_cast<float>(number_at(DType::kFloat32, sum.data() + i * 4));
    EXPECT_EQ(std::bit_cast<uint32_t>(value) & 0xffff, 0U) << value << " needs more than bfloat16's bits";
  }
}

TEST(Pattern, CountsEachWrongElementOnce) {
  const Pattern pattern(DType::kFloat32, Period::kLong, 5);
  std::vector<std::byte> bytes(10'000 * sizeof(float));
  const Pattern::Place place{.call = 4, .first = 11};
  pattern.fill(bytes, place);
  EXPECT_EQ(pattern.count_wrong(bytes, place), 0);
  for (const size_t at : {size_t{0}, size_t{2047}, size_t{2048}, size_t{9999}}) bytes[at * 4 + 2] ^= std::byte{1};
  EXPECT_EQ(pattern.count_wrong(bytes, place), 4);
}

TEST(Pattern, OfAnotherRankCallOrPlaceIsWrongAlmostEverywhere) {
  const Pattern pattern(DType::kFloat32, Period::kLong, 2);
  std::vector<std::byte> bytes(970 * sizeof(float));
  pattern.fill(bytes, {.call = 3, .first = 0});
  EXPECT_EQ(pattern.count_wrong(bytes, {.call = 4, .first = 0}), 970) << "a stale result";
  EXPECT_EQ(pattern.count_wrong(bytes, {.call = 3, .first = 1}), 970) << "a result one element off";
  EXPECT_EQ(pattern.count_wrong(bytes, {.call = 3, .first = 256}), 970) << "a block in a neighbour's place";
  // 3 (1 + x) = 2 (1 + y) happens for the same x and y in no element.
  EXPECT_EQ(Pattern(DType::kFloat32, Period::kLong, 3).count_wrong(bytes, {.call = 3, .first = 0}), 970)
      << "a rank left out";
}

}  // namespace
}  // namespace rondo::bench
