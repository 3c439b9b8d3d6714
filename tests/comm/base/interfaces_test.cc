#include "rondo/comm/interfaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/base/address.h"

namespace rondo::comm {
namespace {

using Reach = InterfaceAddress::Reach;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<InterfaceAddress> kMachine{{"lo", {"tcp:127.0.0.1:0"}, Reach::kLoopback},
                                             {"eth0", {"tcp:10.0.0.1:0"}},
                                             {"ib0", {"tcp:10.1.0.1:0"}},
                                             {"docker0", {"tcp:172.17.0.1:0"}},
                                             {"br-5c0ffee", {"tcp:172.18.0.1:0"}},
                                             {"eth0", {"tcp:[fd00::1]:0"}},
                                             {"eth0", {"tcp:[fe80::1]:0"}, Reach::kLinkLocal}};

TEST(Interfaces, WithoutANameAllThatLeadToOtherMachinesAreChosen) {
  const auto chosen = choose_interfaces(kMachine, "");
  ASSERT_TRUE(chosen.ok()) << chosen.status().text();
  EXPECT_THAT(*chosen, ElementsAre(Address{"tcp:10.0.0.1:0"}, Address{"tcp:10.1.0.1:0"}, Address{"tcp:[fd00::1]:0"}));
}

TEST(Interfaces, ByNameAnyCanBeChosen) {
  EXPECT_THAT(*choose_interfaces(kMachine, "ib0"), ElementsAre(Address{"tcp:10.1.0.1:0"}));
  EXPECT_THAT(*choose_interfaces(kMachine, "docker0,lo"),
              ElementsAre(Address{"tcp:127.0.0.1:0"}, Address{"tcp:172.17.0.1:0"}));
}

TEST(Interfaces, AWrongNameIsRefusedWithThoseThatExist) {
  const Status status = choose_interfaces(kMachine, "eth1").status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.text(), HasSubstr("\"eth1\""));
  EXPECT_THAT(status.text(), HasSubstr("lo, eth0, ib0, docker0, br-5c0ffee"));
}

TEST(Interfaces, AMachineWithoutANetworkIsTold) {
  const Status status = choose_interfaces({kMachine[0], kMachine[3]}, "").status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.text(), HasSubstr("--interface"));
}

TEST(Interfaces, OfThisMachineAllAreAddressesWithoutAPort) {
  const auto all = read_interfaces();
  ASSERT_TRUE(all.ok()) << all.status().text();
  EXPECT_THAT(*all, testing::Contains(InterfaceAddress{"lo", {"tcp:127.0.0.1:0"}, Reach::kLoopback}));
  for (const InterfaceAddress& each : *all) EXPECT_TRUE(parse_address(each.listen).ok()) << each.listen.text;
}

}  // namespace
}  // namespace rondo::comm
