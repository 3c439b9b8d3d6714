#include "launcher/cli/nearest_name.h"

#include <gtest/gtest.h>

#include <vector>

namespace rondo::launcher {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsSubstitutionsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("train", "train"), 0u);
  EXPECT_EQ(edit_distance("trin", "train"), 1u);
  EXPECT_EQ(edit_distance("traain", "train"), 1u);
  EXPECT_EQ(edit_distance("trxin", "train"), 1u);
  EXPECT_EQ(edit_distance("tarin", "train"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(EditDistance, IsSymmetric) {
  for (const auto& [a, b] : {std::pair{"--nproc", "--nprco-per"}, std::pair{"abcd", "dcba"}, std::pair{"", "x"}}) {
    EXPECT_EQ(edit_distance(a, b), edit_distance(b, a)) << a << " " << b;
  }
}

TEST(NearestName, FindsTheNearestAndNothingForStrangers) {
  const std::vector<std::string> names{"run", "train", "version"};
  EXPECT_EQ(nearest_name("trian", names), "train");
  EXPECT_EQ(nearest_name("versoin", names), "version");
  EXPECT_EQ(nearest_name("vers", names), "version");
  EXPECT_EQ(nearest_name("quantum", names), std::nullopt);
  EXPECT_EQ(nearest_name("", names), std::nullopt);
}

TEST(NearestName, OfAShortWordIsNotJustAnyShortName) {
  const std::vector<std::string> names{"ps"};
  EXPECT_EQ(nearest_name("xy", names), std::nullopt);
}

}  // namespace
}  // namespace rondo::launcher
