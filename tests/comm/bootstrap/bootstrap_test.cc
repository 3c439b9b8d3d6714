#include "rondo/comm/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/comm/bootstrap/environments.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::environment;
using test::Variables;
using test::with;
using test::without;

const Variables kAgent{{"RANK", "1"},
                       {"WORLD_SIZE", "2"},
                       {"LOCAL_RANK", "1"},
                       {"LOCAL_WORLD_SIZE", "2"},
                       {"RONDO_STORE", "tcp:127.0.0.1:4711"},
                       {"RONDO_JOB", "000102030405060708090a0b0c0d0e0f"},
                       {"RONDO_GENERATION", "0"},
                       {"RONDO_RUN_DIR", "/tmp/run"},
                       {"RONDO_SECRET_FD", "5"},
                       {"RONDO_CONTROL_FD", "6"},
                       {"RONDO_MESSAGES_FD", "7"},
                       {"RONDO_FLIGHT_FD", "8"},
                       {"MASTER_ADDR", "127.0.0.1"},
                       {"MASTER_PORT", "29500"}};
const Variables kTorchrun{{"RANK", "1"},
                          {"WORLD_SIZE", "2"},
                          {"LOCAL_RANK", "1"},
                          {"LOCAL_WORLD_SIZE", "2"},
                          {"MASTER_ADDR", "127.0.0.1"},
                          {"MASTER_PORT", "29500"},
                          {"TORCHELASTIC_RUN_ID", "none"},
                          {"TORCHELASTIC_RESTART_COUNT", "3"}};

TEST(Bootstrap, IsSingleWhenNothingIsSaid) {
  const auto got = read_bootstrap({}, environment({{"HOME", "/root"}, {"MASTER_ADDR", "left over"}}));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->source, Source::kSingle);
  EXPECT_EQ(got->at, (Position{0, 1}));
  EXPECT_FALSE(got->store.has_value());
  EXPECT_EQ(got->describe(), "rank 0 of 1 (local rank 0 of 1), started alone");
}

TEST(Bootstrap, ReadsWhatTheAgentGives) {
  const auto got = read_bootstrap({}, environment(kAgent));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->source, Source::kAgent);
  EXPECT_EQ(got->at, (Position{1, 2}));
  EXPECT_EQ(got->local_rank, 1);
  EXPECT_EQ(got->store->text, "tcp:127.0.0.1:4711");
  EXPECT_FALSE(got->serve_store);
  EXPECT_FALSE(got->peer_credentials);
  EXPECT_EQ(got->job.hex(), "000102030405060708090a0b0c0d0e0f");
  EXPECT_EQ(got->secret_descriptor, 5);
  EXPECT_EQ(got->control_descriptor, 6);
  EXPECT_EQ(got->messages_descriptor, 7);
  EXPECT_EQ(got->flight_descriptor, 8);
  EXPECT_EQ(got->run_directory, "/tmp/run");
  EXPECT_EQ(got->describe(), "rank 1 of 2 (local rank 1 of 2), started by rondo run");
}

TEST(Bootstrap, ReadsTorchrunsVariables) {
  const auto got = read_bootstrap({}, environment(kTorchrun));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->source, Source::kTorchrun);
  EXPECT_EQ(got->at, (Position{1, 2}));
  EXPECT_EQ(got->generation, 3u);
  EXPECT_EQ(got->store->text, "unix:@rondo-" + std::to_string(::geteuid()) + "-127.0.0.1-29500");
  EXPECT_FALSE(got->serve_store) << "rank 0 does";
  EXPECT_TRUE(got->peer_credentials);
  const auto first = read_bootstrap({}, environment(with(kTorchrun, {{"RANK", "0"}, {"LOCAL_RANK", "0"}})));
  RONDO_ASSERT_OK(first);
  EXPECT_TRUE(first->serve_store);
  EXPECT_EQ(first->store, got->store);
  EXPECT_EQ(first->job, got->job) << "all ranks compute the same";
}

TEST(Bootstrap, TellsJobsAndRestartsApart) {
  const auto job = [](const Variables& changes) {
    return read_bootstrap({}, environment(with(kTorchrun, changes)))->job;
  };
  const JobId one = job({});
  EXPECT_NE(one, job({{"MASTER_PORT", "29501"}}));
  EXPECT_NE(one, job({{"MASTER_ADDR", "10.0.0.1"}}));
  EXPECT_NE(one, job({{"TORCHELASTIC_RUN_ID", "other"}}));
  EXPECT_NE(one, job({{"TORCHELASTIC_RESTART_COUNT", "4"}}));
}

TEST(Bootstrap, TakesASecretFileInPlaceOfPeerCredentials) {
  const auto got = read_bootstrap({}, environment(with(kTorchrun, {{"RONDO_SECRET_FILE", "/home/me/secret"}})));
  RONDO_ASSERT_OK(got);
  EXPECT_FALSE(got->peer_credentials);
  EXPECT_EQ(got->secret_file, "/home/me/secret");
  BootstrapFlags flags;
  flags.secret_file = "/from/flag";
  const auto flagged = read_bootstrap(flags, environment(with(kTorchrun, {{"RONDO_SECRET_FILE", "/home/me/secret"}})));
  RONDO_ASSERT_OK(flagged);
  EXPECT_EQ(flagged->secret_file, "/from/flag");
  EXPECT_EQ(flagged->source, Source::kTorchrun) << "a secret file places no rank";
}

TEST(Bootstrap, SharesMemoryOnOneHostUnlessToldOtherwise) {
  EXPECT_EQ(read_bootstrap({}, environment(kAgent))->transport, TransportKind::kShm);
  EXPECT_EQ(read_bootstrap({}, environment(with(kAgent, {{"RONDO_TRANSPORT", "auto"}})))->transport,
            TransportKind::kShm);
  EXPECT_EQ(read_bootstrap({}, environment(with(kAgent, {{"RONDO_TRANSPORT", "tcp"}})))->transport,
            TransportKind::kTcp);
  EXPECT_EQ(read_bootstrap({.transport = "shm"}, environment(with(kAgent, {{"RONDO_TRANSPORT", "tcp"}})))->transport,
            TransportKind::kShm);
  using Probe = EndpointOptions::Probe;
  EXPECT_EQ(read_bootstrap({}, environment(kAgent))->probe, Probe::kAuto);
  EXPECT_EQ(read_bootstrap({}, environment(with(kAgent, {{"RONDO_PROBE", "off"}})))->probe, Probe::kOff);
  EXPECT_EQ(read_bootstrap({}, environment(with(kAgent, {{"RONDO_PROBE", "always"}})))->probe, Probe::kAlways);
  using DataThread = EndpointOptions::DataThread;
  EXPECT_EQ(read_bootstrap({}, environment(kAgent))->data_thread, DataThread::kAuto);
  EXPECT_EQ(read_bootstrap({}, environment(with(kAgent, {{"RONDO_DATA_THREAD", "off"}})))->data_thread,
            DataThread::kOff);
  EXPECT_EQ(read_bootstrap({}, environment(with(kAgent, {{"RONDO_DATA_THREAD", "always"}})))->data_thread,
            DataThread::kAlways);
  EXPECT_THAT(read_bootstrap({}, environment(with(kAgent, {{"RONDO_DATA_THREAD", "on"}}))).status().text(),
              testing::HasSubstr("RONDO_DATA_THREAD is 'on'; expected auto, off or always"));
  const Status no_probe = read_bootstrap({}, environment(with(kAgent, {{"RONDO_PROBE", "of"}}))).status();
  EXPECT_NE(no_probe.text().find("RONDO_PROBE is 'of'; expected auto, off or always"), std::string::npos)
      << no_probe.text();
  const Status wrong = read_bootstrap({}, environment(with(kAgent, {{"RONDO_TRANSPORT", "smh"}}))).status();
  EXPECT_EQ(wrong.code(), Code::kInvalidArgument);
  EXPECT_NE(wrong.text().find("RONDO_TRANSPORT"), std::string::npos) << wrong.text();
  EXPECT_NE(wrong.text().find("auto, shm, tcp, mpi or shm+mpi"), std::string::npos) << wrong.text();
}

TEST(Bootstrap, RanksOnSeveralHostsMeetAtRankZeroBesideTheProgramsPort) {
  const Variables hosts{{"WORLD_SIZE", "4"},
                        {"RONDO_SECRET_FILE", "/s"},
                        {"MASTER_ADDR", "10.0.0.1"},
                        {"RONDO_INTERFACE", "eth0,ib0"},
                        {"RONDO_HOST_ID", "blue"}};
  const auto got = read_bootstrap({}, environment(with(kTorchrun, hosts)));
  RONDO_ASSERT_OK(got);
  EXPECT_FALSE(got->on_one_host());
  EXPECT_EQ(got->store->text, "tcp:10.0.0.1:29501");
  EXPECT_FALSE(got->peer_credentials);
  EXPECT_EQ(got->transport, TransportKind::kShm) << "inside a host; tcp across";
  EXPECT_EQ(got->interface, "eth0,ib0");
  EXPECT_EQ(got->host_id, "blue");
  EXPECT_EQ(read_bootstrap({.interface = "lo"}, environment(with(kTorchrun, hosts)))->interface, "lo");
  Variables v6 = hosts;
  v6["MASTER_ADDR"] = "fd00::1";
  EXPECT_EQ(read_bootstrap({}, environment(with(kTorchrun, v6)))->store->text, "tcp:[fd00::1]:29501");
  Variables shm = hosts;
  shm["RONDO_TRANSPORT"] = "shm";
  EXPECT_EQ(read_bootstrap({}, environment(with(kTorchrun, shm))).status().code(), Code::kUnsupported);
}

TEST(Bootstrap, KeepsLongAddressesWithinTheNameOfASocket) {
  const auto got = read_bootstrap({}, environment(with(kTorchrun, {{"MASTER_ADDR", std::string(250, 'h')}})));
  RONDO_ASSERT_OK(got);
  EXPECT_LE(got->store->text.size(), 100u);
}

TEST(Bootstrap, TorchrunsSingleRankNeedsNoAddress) {
  const auto got = read_bootstrap({}, environment({{"RANK", "0"}, {"WORLD_SIZE", "1"}}));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->source, Source::kTorchrun);
  EXPECT_FALSE(got->store.has_value());
}

TEST(Bootstrap, PutsFlagsBeforeVariables) {
  BootstrapFlags flags;
  flags.rank = 0;
  flags.world_size = 3;
  flags.endpoint = "unix:@my-job";
  flags.local_rank = 0;
  flags.local_world_size = 3;
  for (const auto& variables : {Variables{}, kAgent, kTorchrun}) {
    const auto got = read_bootstrap(flags, environment(variables));
    RONDO_ASSERT_OK(got);
    EXPECT_EQ(got->source, Source::kFlags);
    EXPECT_EQ(got->at, (Position{0, 3}));
    EXPECT_EQ(got->store->text, "unix:@my-job");
    EXPECT_TRUE(got->serve_store);
    EXPECT_TRUE(got->peer_credentials);
    EXPECT_EQ(got->control_descriptor, -1);
  }
}

TEST(Bootstrap, TheFirstSourceThatSpeaksWins) {
  EXPECT_EQ(read_bootstrap({}, environment(with(kTorchrun, kAgent)))->source, Source::kAgent);
  EXPECT_EQ(read_bootstrap({}, environment(kTorchrun))->source, Source::kTorchrun);
  EXPECT_EQ(name(Source::kFlags), "flags");
  EXPECT_EQ(name(Source::kAgent), "agent");
  EXPECT_EQ(name(Source::kTorchrun), "torchrun");
  EXPECT_EQ(name(Source::kSingle), "single");
}

TEST(Bootstrap, NamesEveryVariableThatIsWrong) {
  struct Case {
    Variables variables;
    const char* named;
    const char* also;
    Code code = Code::kInvalidArgument;
  };
  const std::vector<Case> cases{
      {with(kTorchrun, {{"RANK", "2"}}), "RANK is '2'", "0 to 1"},
      {with(kTorchrun, {{"RANK", "-1"}}), "RANK is '-1'", "0 to 1"},
      {with(kTorchrun, {{"RANK", "one"}}), "RANK is 'one'", "whole number"},
      {with(kTorchrun, {{"RANK", "1 "}}), "RANK is '1 '", "whole number"},
      {with(kTorchrun, {{"RANK", "0x1"}}), "RANK is '0x1'", "whole number"},
      {with(kTorchrun, {{"RANK", "99999999999999999999"}}), "RANK is", "whole number"},
      {without(kTorchrun, "RANK"), "RANK is not set", "0 to 1"},
      {without(kTorchrun, "WORLD_SIZE"), "WORLD_SIZE is not set", "1 to"},
      {with(kTorchrun, {{"WORLD_SIZE", ""}}), "WORLD_SIZE is not set", "1 to"},
      {with(kTorchrun, {{"WORLD_SIZE", "0"}}), "WORLD_SIZE is '0'", "1 to"},
      {with(kTorchrun, {{"LOCAL_RANK", "2"}}), "LOCAL_RANK is '2'", "0 to 1"},
      {with(kTorchrun, {{"LOCAL_WORLD_SIZE", "3"}}), "LOCAL_WORLD_SIZE is '3'", "1 to 2"},
      {{{"LOCAL_RANK", "0"}}, "WORLD_SIZE is not set", "RANK"},
      {without(kTorchrun, "MASTER_ADDR"), "MASTER_ADDR is not set", "rank 1 of 2"},
      {without(kTorchrun, "MASTER_PORT"), "MASTER_PORT is not set", "rank 1 of 2"},
      {with(kTorchrun, {{"MASTER_PORT", "0"}}), "MASTER_PORT is '0'", "1 to 65535"},
      {with(kTorchrun, {{"MASTER_PORT", "65536"}}), "MASTER_PORT is '65536'", "1 to 65535"},
      {with(kTorchrun, {{"TORCHELASTIC_RESTART_COUNT", "-1"}}), "TORCHELASTIC_RESTART_COUNT", "whole number"},
      {with(kTorchrun, {{"WORLD_SIZE", "4"}}), "2 of 4 ranks are on this host", "RONDO_SECRET_FILE",
       Code::kUnauthenticated},
      {with(kTorchrun, {{"WORLD_SIZE", "4"}, {"RONDO_SECRET_FILE", "/s"}, {"MASTER_PORT", "65535"}}),
       "MASTER_PORT is '65535'", "one above it"},
      {with(kAgent, {{"RONDO_STORE", "somewhere"}}), "RONDO_STORE is 'somewhere'", "tcp:127.0.0.1:4711"},
      {without(kAgent, "RONDO_JOB"), "RONDO_JOB is ''", "32 hexadecimal digits"},
      {with(kAgent, {{"RONDO_JOB", "xyz"}}), "RONDO_JOB is 'xyz'", "32 hexadecimal digits"},
      {with(kAgent, {{"RONDO_GENERATION", "later"}}), "RONDO_GENERATION is 'later'", "whole number"},
      {with(kAgent, {{"RONDO_SECRET_FD", "-3"}}), "RONDO_SECRET_FD is '-3'", "whole number"},
      {with(kAgent, {{"RONDO_CONTROL_FD", "six"}}), "RONDO_CONTROL_FD is 'six'", "whole number"},
      {with(kAgent, {{"RONDO_MESSAGES_FD", "7.5"}}), "RONDO_MESSAGES_FD is '7.5'", "whole number"},
      {without(kAgent, "RANK"), "RANK is not set", "RONDO_STORE"},
      {without(kAgent, "RONDO_SECRET_FD"), "RONDO_SECRET_FD", "rondo run", Code::kUnauthenticated},
  };
  for (const auto& [variables, named, also, code] : cases) {
    const auto got = read_bootstrap({}, environment(variables));
    ASSERT_FALSE(got.ok()) << named;
    EXPECT_EQ(got.status().code(), code) << got.status().text();
    EXPECT_NE(got.status().message().find(named), std::string::npos) << got.status().message();
    EXPECT_NE(got.status().message().find(also), std::string::npos) << got.status().message();
  }
}

TEST(Bootstrap, NamesEveryFlagThatIsWrong) {
  struct Case {
    BootstrapFlags flags;
    const char* named;
    Code code = Code::kInvalidArgument;
  };
  const auto flags = [](std::optional<int> rank, std::optional<int> world, std::optional<std::string> endpoint) {
    BootstrapFlags result;
    result.rank = rank;
    result.world_size = world;
    result.endpoint = std::move(endpoint);
    return result;
  };
  BootstrapFlags local = flags(0, 2, "unix:@x");
  local.local_world_size = 2;
  local.local_rank = 2;
  const std::vector<Case> cases{
      {flags(2, 2, "unix:@x"), "--rank is 2"},
      {flags(0, 0, "unix:@x"), "--world-size is 0"},
      {flags(0, std::nullopt, "unix:@x"), "--world-size"},
      {flags(std::nullopt, 2, "unix:@x"), "--rank"},
      {flags(0, 2, std::nullopt), "--endpoint is missing"},
      {flags(0, 2, "nowhere"), "--endpoint is 'nowhere'"},
      {flags(0, 2, "tcp:127.0.0.1:4711"), "--secret-file", Code::kUnauthenticated},
      {local, "--local-rank is 2"},
  };
  for (const auto& [given, named, code] : cases) {
    const auto got = read_bootstrap(given, environment({}));
    ASSERT_FALSE(got.ok()) << named;
    EXPECT_EQ(got.status().code(), code) << got.status().text();
    EXPECT_NE(got.status().message().find(named), std::string::npos) << got.status().message();
  }
}

}  // namespace
}  // namespace rondo::comm
