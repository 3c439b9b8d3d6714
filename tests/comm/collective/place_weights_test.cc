#include "comm/collective/place_weights.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace rondo::comm {
namespace {

Place place(Space space, int64_t begin, int64_t end) { return {.rank = 0, .space = space, .range = {begin, end}}; }

TEST(PlaceWeights, APartOfAPlaceWeighsWhatTheWholeDoes) {
  PlaceWeights weights;
  weights.set(place(Space::kData, 10, 20), 3);
  for (int64_t begin = 10; begin < 20; ++begin) {
    EXPECT_EQ(weights.find(place(Space::kData, begin, 20)), 3.0) << begin;
  }
  EXPECT_FALSE(weights.find(place(Space::kData, 9, 10)));
  EXPECT_FALSE(weights.find(place(Space::kData, 20, 21)));
  EXPECT_FALSE(weights.find(place(Space::kScratch, 10, 20)));
}

TEST(PlaceWeights, WhatIsSetLaterCountsAndOnlyWhereItWasSet) {
  std::mt19937_64 random(7);
  PlaceWeights weights;
  std::vector<std::vector<double>> expected(3, std::vector<double>(40, -1));
  const std::vector<Space> spaces{Space::kData, Space::kScratch, Space::kWire};
  for (int round = 1; round <= 3000; ++round) {
    const size_t space = random() % 3;
    const auto begin = static_cast<int64_t>(random() % 40);
    const int64_t end = begin + static_cast<int64_t>(random() % static_cast<uint64_t>(41 - begin));
    weights.set(place(spaces[space], begin, end), round);
    for (int64_t i = begin; i < end; ++i) expected[space][static_cast<size_t>(i)] = round;
    for (size_t s = 0; s < 3; ++s) {
      for (int64_t i = 0; i < 40; ++i) {
        ASSERT_EQ(weights.find(place(spaces[s], i, i + 1)).value_or(-1), expected[s][static_cast<size_t>(i)])
            << "round " << round << ", space " << s << ", element " << i;
      }
    }
  }
}

}  // namespace
}  // namespace rondo::comm
