#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/hex.h"
#include "rondo/comm/bootstrap.h"
#include "rondo/comm/collectives.h"
#include "rondo/comm/flight.h"
#include "tests/comm/bootstrap/environments.h"
#include "tests/support/descriptors.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::environment;
using test::Variables;

std::string unique_name() { return JobId::draw(*real_env()).hex(); }

Variables torchrun(int rank, int world, const std::string& address) {
  return {{"RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(world)},
          {"LOCAL_RANK", std::to_string(rank)},
          {"LOCAL_WORLD_SIZE", std::to_string(world)},
          {"MASTER_ADDR", address},
          {"MASTER_PORT", "29500"}};
}

/// Joins, forms a group, sums rank + 1 over all ranks, leaves. The sum, or the error.
Result<int64_t> join_and_sum(const Environment& variables) {
  const auto bootstrap = read_bootstrap({}, variables);
  RONDO_TRY(bootstrap);
  auto joined = join(*bootstrap, {}, in_seconds(20));
  RONDO_TRY(joined);
  auto group = Group::create(joined->endpoint, {}, in_seconds(20));
  RONDO_TRY(group);
  std::vector<int64_t> values{bootstrap->at.rank + 1};
  RONDO_TRY(all_reduce(*group, view(values), ReduceOp::kSum).wait(in_seconds(20)));
  RONDO_TRY(barrier(*group).wait(in_seconds(20)));
  RONDO_TRY(group->close(in_seconds(20)));
  RONDO_TRY(joined->endpoint.close(in_seconds(20)));
  return values.front();
}

/// Runs each environment as a rank in a thread of its own.
std::vector<Result<int64_t>> run(const std::vector<Environment>& ranks) {
  std::vector<Result<int64_t>> results(ranks.size(), Result<int64_t>(int64_t{-1}));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < ranks.size(); ++i) threads.emplace_back([&, i] { results[i] = join_and_sum(ranks[i]); });
  for (auto& thread : threads) thread.join();
  return results;
}

TEST(Join, ASingleProcessIsAJobOfOne) {
  const auto sum = join_and_sum(environment({}));
  RONDO_ASSERT_OK(sum);
  EXPECT_EQ(*sum, 1);
}

TEST(Join, TorchrunsRanksMeetByPeerCredentials) {
  for (const int n : {2, 5}) {
    const std::string address = unique_name();
    std::vector<Environment> ranks;
    for (int rank = 0; rank < n; ++rank) ranks.push_back(environment(torchrun(rank, n, address)));
    for (const auto& sum : run(ranks)) {
      RONDO_ASSERT_OK(sum);
      EXPECT_EQ(*sum, n * (n + 1) / 2);
    }
  }
}

TEST(Join, TorchrunsRanksMeetByASecretFile) {
  std::string path = testing::TempDir() + "rondo-join-XXXXXX";
  const int file = ::mkstemp(path.data());
  const auto env = real_env();
  const std::string digits = to_hex(Secret::draw(*env).bytes());
  ASSERT_EQ(::write(file, digits.data(), digits.size()), static_cast<ssize_t>(digits.size()));
  ::close(file);
  const std::string address = unique_name();
  std::vector<Environment> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    auto variables = torchrun(rank, 2, address);
    variables["RONDO_SECRET_FILE"] = path;
    ranks.push_back(environment(variables));
  }
  const auto sums = run(ranks);
  ::unlink(path.c_str());
  for (const auto& sum : sums) RONDO_ASSERT_OK(sum);
}

/// What the agent does: serves the store, hands each rank the secret through a pipe.
struct Agent {
  std::shared_ptr<Env> env = real_env();
  JobId job = JobId::draw(*env);
  Secret secret = Secret::draw(*env);
  std::unique_ptr<StoreServer> server;

  Agent() {
    StoreServerOptions options;
    options.job = job;
    options.secret = secret;
    auto served = serve_store(env, options);
    EXPECT_TRUE(served.ok()) << served.status().text();
    server = *std::move(served);
  }
  static int secret_pipe(const Secret& secret) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    EXPECT_EQ(::write(ends[1], secret.bytes().data(), 32), 32);
    ::close(ends[1]);
    return ends[0];
  }
  Environment worker(int rank, int world, const Secret& with) const {
    auto variables = torchrun(rank, world, "127.0.0.1");
    variables["RONDO_STORE"] = server->address().text;
    variables["RONDO_JOB"] = job.hex();
    variables["RONDO_SECRET_FD"] = std::to_string(secret_pipe(with));
    return environment(variables);
  }
};

TEST(Join, AnAgentsRanksMeetInItsStore) {
  const Agent agent;
  for (const auto& sum :
       run({agent.worker(0, 3, agent.secret), agent.worker(1, 3, agent.secret), agent.worker(2, 3, agent.secret)})) {
    RONDO_ASSERT_OK(sum);
    EXPECT_EQ(*sum, 6);
  }
}

TEST(Join, ARankWithAWrongSecretIsTurnedAwayAtOnce) {
  const Agent agent;
  const TimePoint before = Clock::now();
  const auto sum = join_and_sum(agent.worker(1, 2, Secret::draw(*agent.env)));
  EXPECT_EQ(sum.status().code(), Code::kUnauthenticated) << sum.status().text();
  EXPECT_EQ(sum.status().where().rank, 1);
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(10));
}

TEST(Join, SaysThatTheMeetingPointNeverCame) {
  const auto bootstrap = read_bootstrap({}, environment(torchrun(1, 2, unique_name())));
  RONDO_ASSERT_OK(bootstrap);
  const auto joined = join(*bootstrap, {}, in_seconds(0.1));
  ASSERT_FALSE(joined.ok());
  EXPECT_EQ(joined.status().code(), Code::kTimeout);
  EXPECT_NE(joined.status().message().find("rank 0"), std::string::npos) << joined.status().text();
}

TEST(Join, TwoJobsAtOnePlaceAreTold) {
  const std::string address = unique_name();
  const auto bootstrap = read_bootstrap({}, environment(torchrun(0, 2, address)));
  RONDO_ASSERT_OK(bootstrap);
  const auto first = join(*bootstrap, {}, in_seconds(5));
  RONDO_ASSERT_OK(first);
  const auto second = join(*bootstrap, {}, in_seconds(5));
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find("MASTER_PORT"), std::string::npos) << second.status().text();
}

TEST(Join, RanksWithoutAnAgentWriteTheirFlightRecordsIntoTheRunsFolder) {
  std::string folder = testing::TempDir() + "rondo-run-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string address = unique_name();
  std::vector<Environment> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    auto variables = torchrun(rank, 2, address);
    variables["RONDO_RUN_DIR"] = folder;
    ranks.push_back(environment(variables));
  }
  for (const auto& sum : run(ranks)) RONDO_ASSERT_OK(sum);
  for (int rank = 0; rank < 2; ++rank) {
    std::ifstream file(folder + "/flight/rank-000" + std::to_string(rank) + ".bin", std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const auto flight = read_flight(std::as_bytes(std::span(bytes)));
    RONDO_ASSERT_OK(flight);
    EXPECT_EQ(flight->at, (Position{.rank = rank, .world_size = 2}));
    EXPECT_FALSE(flight->forming);
    EXPECT_GT(flight->beat_ns, 0u);
    ASSERT_EQ(flight->groups.size(), 1u);
    EXPECT_EQ(flight->groups[0].name, "world");
    EXPECT_EQ(flight->groups[0].finished, 2u);
    EXPECT_EQ(flight->groups[0].code, Code::kClosed);
    ASSERT_EQ(flight->records.size(), 2u);
    EXPECT_EQ(flight->records[0].describe(), "all_reduce of 1 int64, sum");
    EXPECT_EQ(flight->records[0].algorithm, "push");
    EXPECT_EQ(flight->records[1].describe(), "barrier");
    for (const FlightRecord& record : flight->records) {
      EXPECT_EQ(record.state, FlightState::kFinished);
      EXPECT_LE(record.called_ns, record.started_ns);
      EXPECT_LE(record.started_ns, record.ended_ns);
    }
    EXPECT_FALSE(flight->ending) << "an orderly end is no failure";
  }
  std::filesystem::remove_all(folder);
}

TEST(Join, GoesOnWithoutAFlightRecordAndSaysWhy) {
  const auto bootstrap = read_bootstrap({}, environment({{"RONDO_RUN_DIR", "/not/there"}}));
  RONDO_ASSERT_OK(bootstrap);
  std::string said;
  const auto joined = join(
      *bootstrap, [&](LogLevel, std::string_view line) { said = line; }, in_seconds(5));
  RONDO_ASSERT_OK(joined);
  EXPECT_NE(said.find("no flight recorder"), std::string::npos) << said;
  EXPECT_NE(said.find("/not/there/flight"), std::string::npos) << said;
}

TEST(Join, LeavesNoDescriptorBehind) {
  (void)join_and_sum(environment({}));
  const size_t before = test::open_descriptors();
  for (int round = 0; round < 10; ++round) {
    const std::string address = unique_name();
    for (const auto& sum : run({environment(torchrun(0, 2, address)), environment(torchrun(1, 2, address))}))
      RONDO_ASSERT_OK(sum);
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace rondo::comm
