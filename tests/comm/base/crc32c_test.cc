#include "comm/base/crc32c.h"

#include <gtest/gtest.h>

#include <array>
#include <string_view>
#include <vector>

namespace rondo::comm {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(Crc32c, GivesThePublishedValues) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
  // RFC 3720, B.4: 32 zeros, 32 ones, 0..31.
  std::array<std::byte, 32> data{};
  EXPECT_EQ(crc32c(data), 0x8A9136AAu);
  data.fill(std::byte{0xFF});
  EXPECT_EQ(crc32c(data), 0x62A8AB43u);
  for (int i = 0; i < 32; ++i) data[static_cast<size_t>(i)] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(data), 0x46DD794Eu);
}

TEST(Crc32c, SeesEveryFlippedBit) {
  std::vector<std::byte> data(67);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 37 + 11);
  const uint32_t right = crc32c(data);
  for (size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(crc32c(data), right) << "bit " << bit;
    data[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(Crc32c, OfTwoRunsChainedIsThatOfBothTogether) {
  std::vector<std::byte> data(1031);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 131 + 7);
  const std::span<const std::byte> all(data);
  for (size_t cut : {size_t{0}, size_t{1}, size_t{63}, size_t{512}, data.size()}) {
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), crc32c(all)) << "cut at " << cut;
  }
}

}  // namespace
}  // namespace rondo::comm
