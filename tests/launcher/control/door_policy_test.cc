#include "launcher/control/door_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace rondo::test {
namespace {

using launcher::who_makes_room;

TEST(DoorPolicy, TheOldestOfTheHostWithTheMostMakesRoom) {
  const auto chosen = [](const std::vector<std::string>& addresses) { return who_makes_room(addresses); };
  EXPECT_EQ(chosen({"10.0.0.1:1"}), 0u);
  EXPECT_EQ(chosen({"10.0.0.1:1", "10.0.0.1:2"}), 0u);
  EXPECT_EQ(chosen({"10.0.0.1:1", "10.0.0.2:1", "10.0.0.2:2"}), 1u);
  EXPECT_EQ(chosen({"10.0.0.2:1", "10.0.0.1:9", "10.0.0.2:2", "10.0.0.1:8", "10.0.0.1:7"}), 1u);
  EXPECT_EQ(chosen({"[fe80::1]:1", "[fe80::2]:1", "[fe80::2]:2"}), 1u);
}

TEST(DoorPolicy, AFloodFromOneHostNeverCostsAnotherHostItsPlace) {
  std::vector<std::string> addresses{"10.0.0.2:1"};  // the oldest, and honest
  for (int port = 1; port <= 1000; ++port) {
    addresses.push_back("10.0.0.1:" + std::to_string(port));
    if (addresses.size() < 64) continue;
    const size_t chosen = who_makes_room(addresses);
    ASSERT_EQ(chosen, 1u) << port;
    addresses.erase(addresses.begin() + static_cast<std::ptrdiff_t>(chosen));
  }
}

TEST(DoorPolicy, TellsOfFewAmongManyRefusals) {
  std::vector<uint64_t> told;
  for (uint64_t number = 1; number <= 100'000; ++number) {
    if (launcher::worth_telling(number)) told.push_back(number);
  }
  EXPECT_EQ(told, (std::vector<uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 1000, 10'000, 100'000}));
}

}  // namespace
}  // namespace rondo::test
