// The overlap test against plain enumeration, over all small layouts and some that look alike.
#include "trainer/check/overlap.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace rondo::trainer {
namespace {

/// Offsets in elements of all index vectors, one by one.
std::set<int64_t> offsets(const StridedMemory& memory) {
  std::set<int64_t> all{0};
  for (size_t d = 0; d < memory.sizes.size(); ++d) {
    std::set<int64_t> next;
    for (const int64_t offset : all) {
      for (int64_t i = 0; i < memory.sizes[d]; ++i) next.insert(offset + i * memory.strides[d]);
    }
    all = std::move(next);
  }
  return all;
}

std::set<uintptr_t> bytes(const StridedMemory& memory) {
  std::set<uintptr_t> all;
  for (const int64_t offset : offsets(memory)) {
    for (int64_t i = 0; i < memory.element_bytes; ++i) {
      all.insert(memory.begin + static_cast<uintptr_t>(offset * memory.element_bytes + i));
    }
  }
  return all;
}

std::string text(const StridedMemory& memory) {
  std::string words;
  for (size_t d = 0; d < memory.sizes.size(); ++d) {
    words += " " + std::to_string(memory.sizes[d]) + " by " + std::to_string(memory.strides[d]);
  }
  return words;
}

TEST(Overlap, CountsAddressesOfEverySmallLayout) {
  int overlapping = 0;
  for (int64_t n = 0; n <= 3; ++n) {
    for (int64_t m = 1; m <= 4; ++m) {
      for (int64_t k = 1; k <= 3; ++k) {
        for (int64_t s = 0; s <= 6; ++s) {
          for (int64_t t = 0; t <= 6; ++t) {
            for (int64_t u = 0; u <= 5; ++u) {
              const StridedMemory memory{.sizes = {n, m, k}, .strides = {s, t, u}};
              const auto expected = static_cast<int64_t>(offsets(memory).size());
              ASSERT_EQ(address_count(memory), expected) << text(memory);
              overlapping += expected < element_count(memory) ? 1 : 0;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(overlapping, 1000);
}

TEST(Overlap, DimensionsMayInterleaveWithoutMeeting) {
  // 2 a + 3 b with a < 2, b < 2 meets nothing, though 3 does not pass over anything that 2 reaches twice.
  EXPECT_EQ(address_count({.sizes = {2, 2}, .strides = {2, 3}}), 4);
  EXPECT_EQ(address_count({.sizes = {3, 5}, .strides = {5, 3}}), 15);
  EXPECT_EQ(address_count({.sizes = {4, 6}, .strides = {5, 3}}), 23) << "3 * 5 = 5 * 3";
}

TEST(Overlap, WordsOf64BitsAreCrossed) {
  for (const int64_t stride : {1, 63, 64, 65, 127, 128, 129}) {
    for (const int64_t size : {1, 2, 63, 64, 65, 130}) {
      const StridedMemory memory{.sizes = {size, 3}, .strides = {stride, stride * (size - 1)}};
      ASSERT_EQ(address_count(memory), static_cast<int64_t>(offsets(memory).size())) << text(memory);
    }
  }
}

TEST(Overlap, AnExpandedTensorOfAnySizeIsKnownAtOnce) {
  EXPECT_EQ(address_count({.sizes = {int64_t{1} << 40, 3}, .strides = {0, 1}}), 3);
  EXPECT_EQ(address_count({.sizes = {0, 5}, .strides = {0, 0}}), 0);
  EXPECT_EQ(address_count({.sizes = {}, .strides = {}}), 1);
  EXPECT_EQ(address_count({.sizes = {1, 1}, .strides = {0, 7}}), 1);
}

TEST(Overlap, TwoTensorsShareMemoryWhereAByteIsOfBoth) {
  int sharing = 0, apart = 0;
  for (uintptr_t begin = 90; begin < 125; ++begin) {
    for (const int64_t width : {1, 2, 4}) {
      for (int64_t s = 0; s <= 4; ++s) {
        for (int64_t t = 0; t <= 4; ++t) {
          const StridedMemory a{.begin = 104, .element_bytes = 2, .sizes = {2, 2}, .strides = {s, 3}};
          const StridedMemory b{.begin = begin, .element_bytes = width, .sizes = {2, 3}, .strides = {1, t}};
          bool expected = false;
          const auto of_a = bytes(a);
          for (const uintptr_t byte : bytes(b)) expected = expected || of_a.contains(byte);
          ASSERT_EQ(share_memory(a, b), expected) << begin << text(a) << " and" << text(b);
          ASSERT_EQ(share_memory(b, a), expected);
          expected ? ++sharing : ++apart;
        }
      }
    }
  }
  EXPECT_GT(sharing, 100);
  EXPECT_GT(apart, 100);
}

TEST(Overlap, EvenAndOddColumnsOfOneMatrixAreApart) {
  const StridedMemory even{.begin = 4096, .element_bytes = 4, .sizes = {100, 50}, .strides = {100, 2}};
  StridedMemory odd = even;
  odd.begin += 4;
  EXPECT_FALSE(share_memory(even, odd));
  odd.begin += 3;
  EXPECT_TRUE(share_memory(even, odd)) << "by one byte";
  EXPECT_FALSE(share_memory(even, {.begin = 4096, .element_bytes = 4, .sizes = {0}, .strides = {1}}));
}

}  // namespace
}  // namespace rondo::trainer
