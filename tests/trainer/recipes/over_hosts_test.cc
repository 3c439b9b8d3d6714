// A recipe over four hosts (network namespaces), started by `rondo run` on each: the same bits as on one host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/hosts.h"
#include "tests/support/process.h"
#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rondo::test::Hosts;
using rondo::test::Process;
using Words = std::vector<std::string>;

constexpr int kHosts = 4;

json read_json(const fs::path& path) {
  std::ifstream file(path);
  return json::parse(file, nullptr, false);
}

/// What each step of the run in `folder` reported as its loss, in every digit.
std::vector<double> losses(const fs::path& folder) {
  std::vector<double> found;
  std::ifstream file(folder / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const json row = json::parse(line);
    if (row["kind"] == "step") found.push_back(row["loss"]);
  }
  return found;
}

class RecipeOverHosts : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Hosts::refusal(), "");
    fs::create_directories(folder_.path() / "data");
    test::write_small_dataset(folder_.path() / "data", {.train = 400, .test = 610});
    Process secret({.program = RONDO_PROGRAM, .arguments = {"secret", "new", file("secret")}, .environment = {}});
    ASSERT_EQ(secret.end(), 0);
  }
  std::string file(const std::string& name) const { return (folder_.path() / name).string(); }

  const test::TemporaryFolder folder_;
};

TEST_F(RecipeOverHosts, TrainsToTheBitsOfOneHost) {
  const Words recipe{"fmnist-cnn", "epochs=1", "batch=16", "threads=1", "data=" + file("data")};
  Words alone{"train", "--nproc-per-node", "4", "--run-dir", file("alone")};
  alone.insert(alone.end(), recipe.begin(), recipe.end());
  Process one({.program = RONDO_PROGRAM, .arguments = alone, .environment = {}});
  ASSERT_EQ(one.end(std::chrono::seconds(120)), 0);

  Hosts hosts(kHosts);
  std::vector<int> cables;  // from the first host to each other; the others have theirs, too
  for (int other = 1; other < kHosts; ++other) cables.push_back(hosts.connect({.first = 0, .second = other}));
  for (int a = 1; a < kHosts; ++a)
    for (int b = a + 1; b < kHosts; ++b) hosts.connect({.first = a, .second = b});
  const std::string door = hosts.ipv4(cables[0], 0);
  for (int host = 2; host < kHosts; ++host) {
    const std::string via = hosts.ipv4(cables[static_cast<size_t>(host - 1)], 0);
    Process route(hosts.on(
        host,
        {.program = "/usr/bin/env", .arguments = {"ip", "route", "add", door + "/32", "via", via}, .environment = {}}));
    ASSERT_EQ(route.end(), 0);
  }
  std::vector<Process> agents;
  for (int host = 0; host < kHosts; ++host) {
    Words words{"run",
                "--nnodes=" + std::to_string(kHosts),
                "--node-rank=" + std::to_string(host),
                "--rdzv-endpoint=" + door + ":29400",
                "--secret-file=" + file("secret"),
                "--run-dir=" + file("over"),
                RONDO_TRAINER};
    words.insert(words.end(), recipe.begin(), recipe.end());
    agents.emplace_back(hosts.on(host, {.program = RONDO_PROGRAM,
                                        .arguments = words,
                                        .environment = {{"RONDO_HOST_ID", "host-" + std::to_string(host)}}}));
  }
  for (Process& agent : agents) EXPECT_EQ(agent.end(std::chrono::seconds(200)), 0);

  const json on_one = read_json(file("alone/summary.json")), on_four = read_json(file("over/summary.json"));
  ASSERT_TRUE(on_one.is_object() && on_four.is_object());
  EXPECT_EQ(on_four["world_size"], kHosts);
  EXPECT_EQ(on_four["transport"], "tcp");
  EXPECT_EQ(on_four["params_equal"], true);
  EXPECT_EQ(on_one["params_hash"], on_four["params_hash"]);
  const auto expected = losses(file("alone"));
  EXPECT_GT(expected.size(), 3u);
  EXPECT_EQ(losses(file("over")), expected);
}

}  // namespace
}  // namespace rondo::trainer
