#include "launcher/control/run_door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kHead = "Num       RefCount Protocol Flags    Type St Inode Path\n";
std::string listening(const std::string& name) {
  return "0000000000000000: 00000002 00000000 00010000 0001 01 12345 " + name + "\n";
}
std::string connected(const std::string& name) {
  return "0000000000000000: 00000003 00000000 00000000 0001 03 12346 " + name + "\n";
}

TEST(RunDoor, ComesBackFromItsName) {
  const RunDoor door{.user = 1000, .launcher = 4711, .run = "mine-20250131-120000-4711"};
  EXPECT_EQ(address_of(door).text, "unix:@rondo-run-1000-4711-mine-20250131-120000-4711");
  EXPECT_THAT(doors_in(kHead + listening(address_of(door).text.substr(5))), ElementsAre(door));
}

TEST(RunDoor, IsOnlyWhereSomebodyListens) {
  EXPECT_THAT(doors_in(""), IsEmpty());
  EXPECT_THAT(doors_in(kHead + connected("@rondo-run-0-5-a") + connected("") + listening("/run/rondo-run-0-5-a") +
                       listening("@rondo-control-1") + listening("@rondo-run-0-x-a") + listening("@rondo-run-0-5-") +
                       listening("@rondo-run--5-a") + listening("@rondo-run-0-0-a") + "half a line"),
              IsEmpty());
  EXPECT_THAT(doors_in(kHead + connected("@rondo-run-0-6-b") + listening("@rondo-run-0-6-b") +
                       listening("@rondo-run-0-5-a") + listening("@rondo-run-7-4-a")),
              ElementsAre(RunDoor{7, 4, "a"}, RunDoor{0, 5, "a"}, RunDoor{0, 6, "b"}))
      << "by run id";
}

TEST(RunDoor, OfALongOrAwkwardIdFitsASocketAndATable) {
  const RunDoor door{.user = 4294967294U, .launcher = 4194304, .run = "a b\n" + std::string(200, 'x')};
  const std::string name = address_of(door).text.substr(5);
  EXPECT_LE(name.size(), 107u);
  EXPECT_THAT(doors_in(listening(name)),
              ElementsAre(RunDoor{door.user, door.launcher, "a_b_" + std::string(RunDoor::kLongestRun - 4, 'x')}));
}

}  // namespace
}  // namespace rondo::launcher
