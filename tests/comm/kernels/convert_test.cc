// widen() and narrow() over all 16-bit patterns and everything that can round, on every instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "comm/kernels/kernels.h"
#include "comm/kernels/reference.h"
#include "tests/comm/kernels/elements.h"

namespace rondo::comm {
namespace {

struct Format {
  DType type;
  int fraction_bits;
  int bias;
  uint32_t infinity() const { return 0x7fffu >> fraction_bits << fraction_bits; }
  bool is_nan(uint32_t bits) const { return (bits & 0x7fffu) > infinity(); }
  // What the bits mean, in closed form.
  double value(uint32_t bits) const {
    const uint32_t magnitude = bits & 0x7fffu;
    const int exponent = static_cast<int>(magnitude >> fraction_bits);
    const int fraction = static_cast<int>(magnitude & ((1u << fraction_bits) - 1));
    const int implied = exponent == 0 ? 0 : 1 << fraction_bits;
    const double size = magnitude == infinity()
                            ? HUGE_VAL
                            : std::ldexp(implied + fraction, (exponent == 0 ? 1 : exponent) - bias - fraction_bits);
    return (bits & 0x8000u) != 0 ? -size : size;
  }
};
constexpr Format kFloat16{DType::kFloat16, 10, 15};
constexpr Format kBFloat16{DType::kBFloat16, 7, 127};

class HalfTypes : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, HalfTypes, testing::Values(kFloat16, kBFloat16),
                         [](const auto& tested) { return std::string(name(tested.param.type)); });

std::vector<uint16_t> narrowed(DType type, const std::vector<float>& wide) {
  std::vector<uint16_t> bits(wide.size());
  narrow(wide.data(), type, reinterpret_cast<std::byte*>(bits.data()), static_cast<int64_t>(wide.size()));
  return bits;
}

std::vector<uint16_t> all_halves() {
  std::vector<uint16_t> bits;
  for (uint32_t i = 0; i < 0x10000; ++i) bits.push_back(static_cast<uint16_t>(i));
  return bits;
}
std::vector<float> widened(DType type, const std::vector<uint16_t>& bits) {
  std::vector<float> wide(bits.size());
  widen(type, reinterpret_cast<const std::byte*>(bits.data()), wide.data(), static_cast<int64_t>(bits.size()));
  return wide;
}

TEST_P(HalfTypes, WidenToExactlyWhatTheirBitsMean) {
  const Format& format = GetParam();
  for_each_target([&](const std::string& target) {
    const auto wide = widened(format.type, all_halves());
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      ASSERT_EQ(std::signbit(wide[bits]), (bits & 0x8000) != 0) << target << " " << bits;
      if (format.is_nan(bits)) {
        ASSERT_TRUE(std::isnan(wide[bits])) << target << " " << bits;
      } else {
        ASSERT_EQ(static_cast<double>(wide[bits]), format.value(bits)) << target << " " << bits;
      }
    }
  });
}

TEST_P(HalfTypes, ComeBackUnchangedAndNaNQuiet) {
  const Format& format = GetParam();
  const uint32_t quiet = 1u << (format.fraction_bits - 1);
  for_each_target([&](const std::string& target) {
    const auto back = narrowed(format.type, widened(format.type, all_halves()));
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      ASSERT_EQ(back[bits], format.is_nan(bits) ? bits | quiet : bits) << target << " " << bits;
    }
  });
}

// Between each two neighbours: the middle goes to the even one, what is next to it on either side to the nearer one.
// Beyond the largest, infinity is the neighbour, as if it were the next number.
TEST_P(HalfTypes, NarrowToNearestAndTiesToEven) {
  const Format& format = GetParam();
  std::vector<float> wide;
  std::vector<uint16_t> expected;
  for (uint32_t low = 0; low < format.infinity(); ++low) {
    const double next =
        low + 1 == format.infinity() ? std::ldexp(1.0, 16 * (format.bias == 15 ? 1 : 8)) : format.value(low + 1);
    const double middle = (format.value(low) + next) / 2;
    const auto even = static_cast<uint16_t>(low + (low & 1));
    const auto tie = static_cast<float>(middle);
    ASSERT_EQ(static_cast<double>(tie), middle);
    for (const uint16_t sign : {0, 0x8000}) {
      const float factor = sign == 0 ? 1.0f : -1.0f;
      wide.insert(wide.end(),
                  {factor * tie, factor * std::nextafterf(tie, 0), factor * std::nextafterf(tie, HUGE_VALF)});
      for (const uint32_t bits : {uint32_t{even}, low, low + 1}) expected.push_back(static_cast<uint16_t>(bits | sign));
    }
  }
  for_each_target([&](const std::string& target) {
    const auto bits = narrowed(format.type, wide);
    for (size_t i = 0; i < wide.size(); ++i) ASSERT_EQ(bits[i], expected[i]) << target << " " << wide[i];
  });
}

TEST_P(HalfTypes, NarrowAnyBitsAsTheReferenceDoesAtAnyCount) {
  const Format& format = GetParam();
  for (const int64_t count : {0, 1, 3, 7, 8, 9, 31, 64, 65, 1027}) {
    const Elements wide = make_elements(DType::kFloat32, count, 5);
    const auto* from = reinterpret_cast<const float*>(wide.data());
    Elements expected(format.type, count, 0);
    reference::narrow(from, format.type, expected.data(), count);
    for_each_target([&](const std::string& target) {
      Elements got(format.type, count, 3);
      narrow(from, format.type, got.data(), count);
      EXPECT_TRUE(got.same_bits(expected)) << target << " " << count;
      EXPECT_TRUE(got.guards_are_whole()) << target << " " << count;
    });
  }
}

TEST_P(HalfTypes, WidenAnyBitsAsTheReferenceDoesAtAnyCount) {
  const Format& format = GetParam();
  for (const int64_t count : {0, 1, 3, 7, 8, 9, 31, 64, 65, 1027}) {
    const Elements half = make_elements(format.type, count, 5);
    Elements expected(DType::kFloat32, count, 0);
    reference::widen(format.type, half.data(), reinterpret_cast<float*>(expected.data()), count);
    for_each_target([&](const std::string& target) {
      Elements got(DType::kFloat32, count, 3);
      widen(format.type, half.data(), reinterpret_cast<float*>(got.data()), count);
      EXPECT_TRUE(got.same_bits(expected)) << target << " " << count;
      EXPECT_TRUE(got.guards_are_whole()) << target << " " << count;
    });
  }
}

TEST(CopyBytes, CopiesEveryByteAndNoOtherFromAnyPlaceToAnyPlace) {
  for (const StoreKind stores : {StoreKind::kPlain, StoreKind::kNonTemporal}) {
    for (const int64_t count : {0, 1, 15, 16, 63, 64, 65, 127, 255, 256, 257, 1000, 4099}) {
      for (const size_t from_offset : {0, 1, 33}) {
        for (const size_t to_offset : {0, 1, 17, 63}) {
          const Elements source = make_elements(DType::kUInt8, count, from_offset);
          Elements from(DType::kUInt8, count, from_offset);
          from.copy_from(source);
          for_each_target([&](const std::string& target) {
            Elements to(DType::kUInt8, count, to_offset);
            copy_bytes(from.data(), to.data(), to.byte_count(), stores);
            ASSERT_TRUE(to.same_bits(from)) << target << " " << count << " " << from_offset << " " << to_offset;
            ASSERT_TRUE(to.guards_are_whole()) << target << " " << count << " " << from_offset << " " << to_offset;
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace rondo::comm
