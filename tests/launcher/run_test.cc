/// What a worker finds under `rondo run`, and what a run leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "launcher/agent/core_map.h"
#include "launcher/agent/topology.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// What each rank said about itself, by rank.
std::vector<json> environments(int ranks) {
  const TemporaryFolder folder;
  const Outcome run =
      run_rondo({"run", "--nproc-per-node", std::to_string(ranks), "--run-dir", "run", RONDO_TEST_WORKER, "env"},
                {.environment = {{"RANK", "99"}, {"OMP_NUM_THREADS", ""}}, .folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  std::vector<json> facts;
  for (int rank = 0; rank < ranks; ++rank) {
    facts.push_back(
        json::parse(read_file(folder.path() / "run" / "logs" / ("rank-000" + std::to_string(rank) + ".out"))));
  }
  return facts;
}

TEST(Run, GivesEveryRankItsPlaceItsCoresAndItsDescriptors) {
  const std::vector<launcher::CpuPlace> machine = launcher::read_topology();
  for (const int n : {1, 2, 3}) {
    const std::vector<json> ranks = environments(n);
    std::set<std::string> jobs;
    const auto shares = launcher::share_cores(machine, n, launcher::Binding::kCores);
    for (int rank = 0; rank < n; ++rank) {
      const json& facts = ranks[static_cast<size_t>(rank)];
      const json& variables = facts["variables"];
      EXPECT_EQ(variables["RANK"], std::to_string(rank)) << n << " ranks";
      EXPECT_EQ(variables["LOCAL_RANK"], std::to_string(rank));
      EXPECT_EQ(variables["WORLD_SIZE"], std::to_string(n));
      EXPECT_EQ(variables["LOCAL_WORLD_SIZE"], std::to_string(n));
      EXPECT_EQ(variables["MASTER_ADDR"], "127.0.0.1");
      EXPECT_GT(std::stoi(variables["MASTER_PORT"].get<std::string>()), 0);
      EXPECT_THAT(variables["RONDO_STORE"].get<std::string>(), testing::StartsWith("tcp:127.0.0.1:"));
      EXPECT_TRUE(fs::path(variables["RONDO_RUN_DIR"].get<std::string>()).is_absolute());
      EXPECT_EQ(facts["cpus"], json(shares[static_cast<size_t>(rank)].cpus)) << "rank " << rank << " of " << n;
      EXPECT_EQ(facts["secret_bytes"], 32) << "and then the end of the file";
      EXPECT_EQ(facts["descriptors"], json({0, 1, 2, 3, 4, 5, 6})) << "nothing else is inherited";
      EXPECT_EQ(facts["group"], facts["pid"]) << "its own process group";
      jobs.insert(variables["RONDO_JOB"].get<std::string>());
    }
    EXPECT_EQ(jobs.size(), 1u) << "one job, one name";
    EXPECT_EQ(jobs.begin()->size(), 32u);
  }
}

TEST(Run, SetsTheThreadCountUnlessTheUserDid) {
  const TemporaryFolder folder;
  ::unsetenv("OMP_NUM_THREADS");
  const Outcome own = run_rondo({"run", "-n", "2", RONDO_TEST_WORKER, "0:env"}, {.folder = folder.path()});
  const Outcome users = run_rondo({"run", "-n", "2", RONDO_TEST_WORKER, "0:env"},
                                  {.environment = {{"OMP_NUM_THREADS", "7"}}, .folder = folder.path()});
  const std::string expected = [] {
    const launcher::HostCpus cpus = launcher::read_cpus();
    const int cores = std::max(1, launcher::count_cores(cpus.places) / 2);
    return std::to_string(cpus.limit ? std::max(1, std::min(cores, *cpus.limit / 2)) : cores);
  }();
  EXPECT_THAT(own.output, testing::HasSubstr("\"OMP_NUM_THREADS\":\"" + expected + "\""));
  EXPECT_THAT(users.output, testing::HasSubstr("\"OMP_NUM_THREADS\":\"7\""));
}

TEST(Run, PassesTheProgramsArgumentsOnUntouched) {
  const TemporaryFolder folder;
  const std::vector<std::string> words{"--nproc-per-node", "9", "--", "a b", "", "-n", "--run_dir=x"};
  for (const bool dashes : {false, true}) {
    std::vector<std::string> arguments{"run", "--nproc_per_node=1"};
    if (dashes) arguments.emplace_back("--");
    arguments.insert(arguments.end(), {"/bin/sh", "-c", "for word; do echo \"<$word>\"; done", "sh"});
    arguments.insert(arguments.end(), words.begin(), words.end());
    const Outcome run = run_rondo(arguments, {.folder = folder.path()});
    EXPECT_EQ(run.output, "<--nproc-per-node>\n<9>\n<-->\n<a b>\n<>\n<-n>\n<--run_dir=x>\n") << run.errors;
    EXPECT_EQ(run.exit_code, 0);
  }
}

TEST(Run, LeavesACompleteFolderAndTheLinkToIt) {
  const TemporaryFolder folder;
  const Outcome run =
      run_rondo({"run", "-n", "2", RONDO_TEST_WORKER, "out=to stdout", "err=to stderr"}, {.folder = folder.path()});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const fs::path latest = folder.path() / "runs" / "latest";
  EXPECT_THAT(fs::read_symlink(latest).string(), testing::MatchesRegex("launcher_worker-[0-9]{8}-[0-9]{6}-[0-9]+"));
  for (int rank = 0; rank < 2; ++rank) {
    const std::string log = "rank-000" + std::to_string(rank);
    EXPECT_EQ(read_file(latest / "logs" / (log + ".out")), "to stdout\n");
    EXPECT_EQ(read_file(latest / "logs" / (log + ".err")), "to stderr\n");
  }
  EXPECT_THAT(read_file(latest / "command.txt"), testing::StartsWith("rondo run -n 2 "));
  EXPECT_THAT(read_file(latest / "config.toml"), testing::HasSubstr("nproc_per_node = 2  # command line\n"));
  EXPECT_EQ(json::parse(read_file(latest / "version.json"))["program"], "rondo");

  std::vector<std::string> kinds;
  for (const std::string& line : lines_of(read_file(latest / "events.jsonl")))
    kinds.push_back(json::parse(line)["kind"]);
  EXPECT_THAT(kinds, testing::ElementsAre("start", "spawn", "spawn", "exit", "exit", "end"));
}

TEST(Run, KeepsLogsWhereLogDirSays) {
  const TemporaryFolder folder;
  for (const std::string run : {"one", "two"}) {
    const Outcome outcome =
        run_rondo({"run", "--log_dir", "mylogs", "--run-dir", run, RONDO_TEST_WORKER, "out=hello " + run},
                  {.folder = folder.path()});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  }
  for (const std::string run : {"one", "two"}) {
    EXPECT_EQ(read_file(folder.path() / "mylogs" / run / "rank-0000.out"), "hello " + run + "\n")
        << "runs do not overwrite each other's";
    EXPECT_EQ(run_rondo({"logs", run}, {.folder = folder.path()}).output, "hello " + run + "\n");
  }
  const Outcome same =
      run_rondo({"run", "--log-dir", "mylogs", "--run-dir", "other/one", RONDO_TEST_WORKER}, {.folder = folder.path()});
  EXPECT_EQ(same.exit_code, 2);
  EXPECT_THAT(same.errors, testing::HasSubstr("mylogs/one holds something already, likely the logs of another run"));
  EXPECT_EQ(read_file(folder.path() / "mylogs" / "one" / "rank-0000.out"), "hello one\n");
}

TEST(Run, FindsProgramsInThePath) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_rondo({"run", "true"}, {.folder = folder.path()}).exit_code, 0);
  EXPECT_EQ(run_rondo({"run", "false"}, {.folder = folder.path()}).exit_code, 1);
}

}  // namespace
}  // namespace rondo::test
