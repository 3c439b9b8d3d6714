#include "launcher/cli/torchrun_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "launcher/agent/gpus.h"

namespace rondo::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string drawn(const comm::Result<std::vector<Streams>>& streams) {
  if (!streams.ok()) return streams.status().message();
  std::string text;
  for (const Streams& of : *streams) text += std::to_string((of.output ? 1 : 0) + (of.errors ? 2 : 0));
  return text;
}

TEST(TorchrunValues, StreamsAreOneNumberForAllOrAMapByLocalRank) {
  EXPECT_EQ(drawn(parse_streams("--tee", "3", 3)), "333");
  EXPECT_EQ(drawn(parse_streams("--tee", "0", 2)), "00");
  EXPECT_EQ(drawn(parse_streams("--tee", "0:1,2:3", 4)), "1030");
  for (const char* bad : {"4", "-1", "", "x", "0:4", "0:", "0:1;1:2"})
    EXPECT_THAT(drawn(parse_streams("--tee", bad, 2)), HasSubstr("--tee " + std::string(bad) + ": 0 none")) << bad;
  EXPECT_EQ(drawn(parse_streams("--redirects", "2:1", 2)), "--redirects 2:1: there is no local rank 2 among 2");
}

TEST(TorchrunValues, NodesAreANumberOrARange) {
  EXPECT_EQ(parse_nodes("1:1")->most, 1);
  EXPECT_EQ(parse_nodes("3")->least, 3);
  EXPECT_EQ(parse_nodes("1:4")->most, 4);
  for (const char* bad : {"0", "2:1", "", "1:", ":2", "a", "1:2:3"}) EXPECT_FALSE(parse_nodes(bad).ok()) << bad;
}

TEST(TorchrunValues, SignalsAreNamesAndUsr1IsTaken) {
  EXPECT_THAT(*parse_signals("SIGTERM,SIGINT,SIGTERM"), ElementsAre(SIGTERM, SIGINT));
  EXPECT_THAT(parse_signals("SIGUSR1").status().message(), HasSubstr("save a checkpoint (USR1)"));
  EXPECT_THAT(parse_signals("SIGKILL").status().message(), HasSubstr("'SIGKILL' is none of SIGTERM"));
}

TEST(TorchrunValues, EndpointsMayBeIpv6) {
  EXPECT_EQ(parse_host_port("--e", "node7:29400")->port, 29400);
  EXPECT_EQ(parse_host_port("--e", "node7")->port, 0);
  EXPECT_EQ(parse_host_port("--e", "[::1]:29400")->host, "[::1]");
  EXPECT_EQ(parse_host_port("--e", "[::1]")->host, "[::1]");
  for (const char* bad : {":1", "a:b", "a:65536", "a:-1"}) EXPECT_FALSE(parse_host_port("--e", bad).ok()) << bad;
}

TEST(TorchrunValues, BytesHaveUnits) {
  EXPECT_EQ(*parse_bytes("--log-cap", "0"), 0u);
  EXPECT_EQ(*parse_bytes("--log-cap", "64MiB"), 64u << 20);
  EXPECT_EQ(*parse_bytes("--log-cap", "2KB"), 2000u);
  for (const char* bad : {"", "MiB", "1TiBs", "-1", "99999999999GiB"})
    EXPECT_FALSE(parse_bytes("--log-cap", bad).ok()) << bad;
}

TEST(TorchrunValues, RankSetsNameExistingRanks) {
  EXPECT_THAT(*parse_rank_set("0,2", 3), ElementsAre(0, 2));
  EXPECT_THAT(*parse_rank_set("", 3), ElementsAre());
  EXPECT_FALSE(parse_rank_set("3", 3).ok());
  EXPECT_FALSE(parse_rank_set("a", 3).ok());
}

TEST(TorchrunValues, ShownRanksAreNamedByAWordOrByRanges) {
  const auto shown = [](const std::string& text) {
    const auto set = parse_shown(text, 6);
    return set.ok() ? *set : std::set<int>{-1};
  };
  EXPECT_EQ(shown("all"), (std::set<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(shown("first"), (std::set<int>{0}));
  EXPECT_EQ(shown("failed"), (std::set<int>{}));
  EXPECT_EQ(shown("0,3-5"), (std::set<int>{0, 3, 4, 5}));
  EXPECT_EQ(shown("2"), (std::set<int>{2}));
  for (const char* wrong : {"6", "3-6", "5-3", "-1", "last", "1-", "0,,2"})
    EXPECT_EQ(parse_shown(wrong, 6).status().code(), comm::Code::kInvalidArgument) << wrong;
}

TEST(Gpus, AreCountedByTheirDevicesAsFarAsTheyAreVisible) {
  const std::vector<std::string> devices{"nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "null", "nvidia"};
  EXPECT_EQ(count_gpus(devices, nullptr), 3);
  EXPECT_EQ(count_gpus(devices, ""), 0);
  EXPECT_EQ(count_gpus(devices, "1"), 1);
  EXPECT_EQ(count_gpus(devices, "0,-1,1"), 1);
  EXPECT_EQ(count_gpus(devices, "0,1,2,3,4"), 3);
  EXPECT_EQ(count_gpus({}, "0,1"), 0);
}

}  // namespace
}  // namespace rondo::launcher
