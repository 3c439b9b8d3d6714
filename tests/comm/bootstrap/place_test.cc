#include "comm/bootstrap/place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::comm {
namespace {

TEST(Place, AHostIdSplitsAMachineAndNamesTheParts) {
  EXPECT_EQ(host_text(""), host_text(""));
  EXPECT_EQ(host_text("blue"), host_text("blue"));
  EXPECT_NE(host_text("blue"), host_text("red"));
  EXPECT_NE(host_text("blue"), host_text(""));
  EXPECT_THAT(host_text("blue"), testing::StartsWith("blue/"));
  EXPECT_EQ(host_text("a b\n=").find_first_of(" \n="), std::string::npos) << "it goes into a line of words";
}

TEST(Place, OnOneHostDataLinksStayOnLoopbackOrOpenNoTcpPortAtAll) {
  const auto env = real_env();
  Bootstrap place{.at = {.rank = 0, .world_size = 2}, .local_world_size = 2, .interface = "eth9"};
  EXPECT_EQ(*data_addresses(place, *env), std::vector{Address{"tcp:127.0.0.1:0"}});
  place.peer_credentials = true;
  const auto unix = data_addresses(place, *env);
  ASSERT_EQ(unix->size(), 1u);
  EXPECT_THAT(unix->front().text, testing::StartsWith("unix:@"));
}

TEST(Place, AcrossHostsTheNamedInterfaceMustExist) {
  const auto env = real_env();
  Bootstrap place{.at = {.rank = 0, .world_size = 4}, .local_world_size = 2, .interface = "lo"};
  EXPECT_THAT(*data_addresses(place, *env), testing::Contains(Address{"tcp:127.0.0.1:0"}));
  place.interface = "no-such-interface";
  EXPECT_EQ(data_addresses(place, *env).status().code(), Code::kInvalidArgument);
}

TEST(Place, NamesOfHostsAreLookedUpAndNumbersAreNot) {
  EXPECT_THAT(resolve({"tcp:localhost:4711"})->text, testing::AnyOf("tcp:127.0.0.1:4711", "tcp:[::1]:4711"));
  for (const char* text : {"tcp:10.0.0.1:1", "tcp:[fd00::1]:2", "unix:@a"}) EXPECT_EQ(resolve({text})->text, text);
  EXPECT_EQ(resolve({"tcp:no-such-host.invalid:1"}).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace rondo::comm
