// A recipe over several hosts (network namespaces), started by `rondo run` on each, or by mpirun on one: the same bits
// as on one host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/hosts.h"
#include "tests/support/mpi_hosts.h"
#include "tests/support/process.h"
#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rondo::test::Hosts;
using rondo::test::MpiHosts;
using rondo::test::Process;
using std::chrono::steady_clock;
using Words = std::vector<std::string>;

constexpr int kRanks = 4;
constexpr std::chrono::seconds kPatience{300};  // for four processes with LibTorch on a busy machine

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

json read_json(const fs::path& path) {
  std::ifstream file(path);
  return json::parse(file, nullptr, false);
}

/// What each step of the run in `folder` reported as its loss, in every digit.
std::vector<double> losses(const fs::path& folder) {
  std::vector<double> found;
  std::ifstream file(folder / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const json row = json::parse(line, nullptr, false);  // the last line of a run under way may be half written
    if (row.is_object() && row["kind"] == "step") found.push_back(row["loss"]);
  }
  return found;
}

class RecipeOverHosts : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Hosts::refusal(), "");
    fs::create_directories(folder_.path() / "data");
    test::write_small_dataset(folder_.path() / "data", {.train = 250, .test = 122});
  }
  std::string file(const std::string& name) const { return (folder_.path() / name).string(); }
  Words recipe(int epochs) const {
    return {"fmnist-cnn", "epochs=" + std::to_string(epochs), "batch=16", "threads=1", "data=" + file("data")};
  }

  void train_on_one_host() const {
    const Words alone{"train", "--nproc-per-node", std::to_string(kRanks), "--run-dir", file("alone")};
    Process one({.program = RONDO_PROGRAM, .arguments = alone + recipe(1), .environment = {}});
    ASSERT_EQ(one.end(kPatience), 0);
  }
  void expect_the_bits_of_one_host(const fs::path& run, const std::string& transport) const {
    const json on_one = read_json(file("alone/summary.json")), on_several = read_json(run / "summary.json");
    ASSERT_TRUE(on_one.is_object() && on_several.is_object());
    EXPECT_EQ(on_several["world_size"], kRanks);
    EXPECT_EQ(on_several["transport"], transport);
    EXPECT_EQ(on_several["params_equal"], true);
    EXPECT_EQ(on_one["params_hash"], on_several["params_hash"]);
    const auto expected = losses(file("alone"));
    EXPECT_GT(expected.size(), 3u);
    EXPECT_EQ(losses(run), expected);
  }

  const test::TemporaryFolder folder_;
};

TEST_F(RecipeOverHosts, TrainsToTheBitsOfOneHost) {
  train_on_one_host();
  Process secret({.program = RONDO_PROGRAM, .arguments = {"secret", "new", file("secret")}, .environment = {}});
  ASSERT_EQ(secret.end(), 0);
  Hosts hosts(kRanks);
  std::vector<int> cables;  // from the first host to each other; the others have theirs, too
  for (int other = 1; other < kRanks; ++other) cables.push_back(hosts.connect({.first = 0, .second = other}));
  for (int a = 1; a < kRanks; ++a)
    for (int b = a + 1; b < kRanks; ++b) hosts.connect({.first = a, .second = b});
  const std::string door = hosts.ipv4(cables[0], 0);
  for (int host = 2; host < kRanks; ++host) {
    const std::string via = hosts.ipv4(cables[static_cast<size_t>(host - 1)], 0);
    Process route(hosts.on(
        host,
        {.program = "/usr/bin/env", .arguments = {"ip", "route", "add", door + "/32", "via", via}, .environment = {}}));
    ASSERT_EQ(route.end(), 0);
  }
  std::vector<Process> agents;
  for (int host = 0; host < kRanks; ++host) {
    const Words words{"run",
                      "--nnodes=" + std::to_string(kRanks),
                      "--node-rank=" + std::to_string(host),
                      "--rdzv-endpoint=" + door + ":29400",
                      "--secret-file=" + file("secret"),
                      "--run-dir=" + file("over"),
                      RONDO_TRAINER};
    agents.emplace_back(hosts.on(host, {.program = RONDO_PROGRAM,
                                        .arguments = words + recipe(1),
                                        .environment = {{"RONDO_HOST_ID", "host-" + std::to_string(host)}}}));
  }
  for (Process& agent : agents) EXPECT_EQ(agent.end(kPatience), 0);
  expect_the_bits_of_one_host(file("over"), "tcp");
}

class RecipeByMpirun : public RecipeOverHosts {
 protected:
  void SetUp() override {
    if (const char* why = RONDO_NO_MPI; *why != '\0') GTEST_SKIP() << why;
    RecipeOverHosts::SetUp();
  }
  /// Nobody gives the ranks an address or a secret. They run in `folder`, where rank 0 makes the run's folder.
  static Words mpirun(const MpiHosts& by_mpi, const std::string& where, const Words& flags, const fs::path& folder,
                      const std::string& transport, const Words& recipe) {
    fs::create_directories(folder);
    return by_mpi.mpirun(where) + flags +
           Words{"--wdir", folder, "env", "RONDO_TRANSPORT=" + transport, RONDO_TRAINER} + recipe;
  }
};

TEST_F(RecipeByMpirun, TrainsToTheBitsOfOneHostOverEveryKindOfLink) {
  train_on_one_host();
  Hosts hosts(kRanks);
  hosts.join_by_switch();  // Open MPI takes all addresses of a host for reachable
  const MpiHosts by_mpi(hosts);
  struct Way {
    const char *where, *transport, *links;
  };
  for (const Way& way : {Way{"a:1,b:1,c:1,d:1", "auto", "tcp"}, Way{"a:2,b:2", "auto", "shm+tcp"},
                         Way{"a:1,b:1,c:1,d:1", "mpi", "mpi"}}) {
    SCOPED_TRACE(std::string(way.where) + " " + way.transport);
    const fs::path folder = file(std::string("by-mpirun-") + way.links);
    Process ranks(by_mpi.on_first(mpirun(by_mpi, way.where, {}, folder, way.transport, recipe(1))));
    ASSERT_EQ(ranks.end(kPatience), 0);
    expect_the_bits_of_one_host(folder / "runs/latest", way.links);
  }
}

// MPI's own listeners are everywhere: its daemons' in processes of their own, its library's in the ranks, on ports that
// it is told. All others of the ranks are Rondo's.
TEST_F(RecipeByMpirun, NothingOfRondoListensEverywhere) {
  constexpr int kFirstPort = 40000, kPorts = 64;
  Hosts hosts(kRanks);
  hosts.join_by_switch();
  const MpiHosts by_mpi(hosts);
  const fs::path folder = fs::canonical(folder_.path()) / "listening";
  const Words ports{"--mca", "btl_tcp_port_min_v4",   std::to_string(kFirstPort),
                    "--mca", "btl_tcp_port_range_v4", std::to_string(kPorts)};
  Process ranks(by_mpi.on_first(mpirun(by_mpi, "a:1,b:1,c:1,d:1", ports, folder, "auto", recipe(10'000))));
  const auto deadline = steady_clock::now() + kPatience;
  while (losses(folder / "runs/latest").size() < 2) {
    ASSERT_LT(steady_clock::now(), deadline) << "no step is done";
    ASSERT_FALSE(ranks.end(std::chrono::milliseconds(50))) << "mpirun has ended";
  }
  std::map<std::string, std::string> rank_of_socket;  // inode -> process
  std::map<std::string, int> own_listeners;           // of a process
  for (const auto& process : fs::directory_iterator("/proc")) {
    std::error_code gone;
    if (fs::read_symlink(process.path() / "cwd", gone) != folder ||
        fs::read_symlink(process.path() / "exe", gone) != fs::canonical(RONDO_TRAINER))
      continue;
    own_listeners[process.path().filename()] = 0;
    for (const auto& descriptor : fs::directory_iterator(process.path() / "fd", gone)) {
      const std::string target = fs::read_symlink(descriptor, gone);
      if (target.starts_with("socket:["))
        rank_of_socket[target.substr(8, target.size() - 9)] = process.path().filename();
    }
  }
  EXPECT_EQ(own_listeners.size(), static_cast<size_t>(kRanks));
  for (int host = 0; host < kRanks; ++host) {
    for (const Hosts::Listener& listener : hosts.listeners(host)) {
      const auto rank = rank_of_socket.find(listener.inode);
      if (rank == rank_of_socket.end()) continue;
      const int port = std::stoi(listener.address.substr(listener.address.find(':') + 1), nullptr, 16);
      if (port >= kFirstPort && port < kFirstPort + kPorts) continue;
      ++own_listeners[rank->second];
      EXPECT_FALSE(listener.everywhere()) << listener.address << " on host " << host;
    }
  }
  for (const auto& [process, count] : own_listeners) EXPECT_GT(count, 0) << "process " << process;
  ranks.signal(SIGTERM);
  EXPECT_TRUE(ranks.end(kPatience));
}

}  // namespace
}  // namespace rondo::trainer
