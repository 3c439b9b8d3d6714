#include "launcher/remote/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Endpoint, KnowsWhatCanNeverBeTheNameOfAHost) {
  for (const char* name : {"a", "mine-0.mine", "mine-0.mine.", "node_7", "7nodes", "10.example"})
    EXPECT_FALSE(no_name(name)) << name;
  for (const std::string& name : {std::string(), std::string("."), std::string("a..b"), std::string(".a"),
                                  std::string("a b"), std::string("10.0.0.300"), std::string("10.0.0.1"),
                                  std::string("[::1]"), std::string("::1"), std::string(64, 'a')})
    EXPECT_TRUE(no_name(name)) << name;
}

TEST(Endpoint, IsRefusedWhereItIsNoNameOrEveryAddress) {
  EXPECT_EQ(addresses_of("no..where", 1).status().code(), comm::Code::kInvalidArgument);
  EXPECT_EQ(addresses_of("0.0.0.0", 1).status().code(), comm::Code::kInvalidArgument);
  const auto address = addresses_of("127.0.0.1", 29400);
  ASSERT_TRUE(address.ok());
  ASSERT_EQ(address->size(), 1u);
  EXPECT_EQ(address->front().text, "tcp:127.0.0.1:29400");
}

TEST(Endpoint, LeadsHomeWhenANameLeadsToLoopbackOnly) {
  const comm::Address debian{"tcp:127.0.1.1:1"}, loopback{"tcp:[::1]:1"}, network{"tcp:10.0.0.1:1"};
  EXPECT_TRUE(leads_home("a", {debian}));
  EXPECT_TRUE(leads_home("a.example", {debian, loopback}));
  EXPECT_FALSE(leads_home("a", {debian, network}));
  EXPECT_FALSE(leads_home("a", {network}));
  for (const char* meant : {"localhost", "localhost.localdomain", "127.0.1.1"})
    EXPECT_FALSE(leads_home(meant, {debian})) << meant;
}

TEST(Endpoint, ThatLeadsHomeIsMetAtTheOnlyAddressOrNamesAllThereAre) {
  const comm::Address one{"tcp:10.0.0.1:0"}, other{"tcp:10.1.0.1:0"}, modern{"tcp:[fd00::1]:0"};
  for (const auto& [own, met] :
       {std::pair{std::vector{one}, one}, {std::vector{one, modern}, one}, {std::vector{modern}, modern}}) {
    const auto chosen = met_instead("a", own);
    ASSERT_TRUE(chosen.ok()) << chosen.status().message();
    EXPECT_EQ(*chosen, met);
  }
  const auto several = met_instead("a", {one, other, modern});
  EXPECT_EQ(several.status().code(), comm::Code::kInvalidArgument);
  EXPECT_THAT(several.status().message(), AllOf(HasSubstr("--rdzv-endpoint a leads to loopback on this host"),
                                                HasSubstr("this one has 10.0.0.1, 10.1.0.1, [fd00::1]")));
  EXPECT_THAT(met_instead("a", {}).status().message(), HasSubstr("this one has none on a network"));
}

}  // namespace
}  // namespace rondo::launcher
