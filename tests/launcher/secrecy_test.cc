/// The secret of a job stays among its ranks, and nobody outside this host can reach it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "rondo/comm/store.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

/// A job of two ranks that wait for ever, and what rank 0 knows.
class Secrecy : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path told = folder_.path() / "told";
    launch_.emplace(std::vector<std::string>{"run", "-n", "2", "--run-dir", "run", RONDO_TEST_WORKER,
                                             "0:secret=" + told.string(), "out=ready", "wait"},
                    Launch::Options{.folder = folder_.path()});
    ASSERT_TRUE(launch_->wait_for("[rank 0] ready") && launch_->wait_for("[rank 1] ready"));
    const std::string content = read_file(told);
    ASSERT_GT(content.size(), 32u);
    secret_ = content.substr(0, 32);
    store_ = content.substr(32);
    for (const std::string& line : lines_of(read_file(folder_.path() / "run" / "events.jsonl"))) {
      const json event = json::parse(line);
      if (event["kind"] == "start") job_ = event["job"];
      if (event["kind"] == "spawn") pids_.push_back(event["pid"]);
    }
    pids_.push_back(launch_->pid());
  }

  comm::Result<std::shared_ptr<comm::Store>> connect(const std::string& secret) const {
    comm::Digest digest;
    std::memcpy(digest.data(), secret.data(), digest.size());
    comm::StoreClientOptions options;
    options.server = comm::Address{store_};
    options.job = *comm::JobId::parse(job_);
    options.secret = comm::Secret(digest);
    options.rank = 0;
    return comm::connect_store(comm::real_env(), options, comm::in_seconds(10));
  }

  const TemporaryFolder folder_;
  std::optional<Launch> launch_;
  std::string secret_, store_, job_;
  std::vector<pid_t> pids_;  // the ranks', then the launcher's
};

TEST_F(Secrecy, SecretIsInNoEnvironmentCommandLineOrFile) {
  std::vector<fs::path> places;
  for (const pid_t pid : pids_) {
    for (const char* file : {"environ", "cmdline"}) places.push_back(fs::path("/proc") / std::to_string(pid) / file);
  }
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path() / "run")) {
    if (entry.is_regular_file()) places.push_back(entry.path());
  }
  ASSERT_GT(places.size(), 10u);
  for (const fs::path& place : places) {
    const std::string content = read_file(place);
    EXPECT_EQ(content.find(secret_), std::string::npos) << place;
    EXPECT_EQ(content.find(hex(secret_)), std::string::npos) << place;
  }
}

TEST_F(Secrecy, StoreTakesTheJobsSecretAndRefusesAnother) {
  const auto right = connect(secret_);
  ASSERT_TRUE(right.ok()) << right.status().text();
  EXPECT_TRUE(comm::store_set(**right, *comm::real_env(), "greeting", "hello", comm::in_seconds(10)).ok());

  std::string other = secret_;
  other[31] = static_cast<char>(other[31] ^ 1);
  EXPECT_EQ(connect(other).status().code(), comm::Code::kUnauthenticated);
  EXPECT_TRUE(eventually(std::chrono::seconds(10), [&] {
    return read_file(folder_.path() / "run" / "events.jsonl").find("\"kind\":\"store_refused\"") != std::string::npos;
  })) << "the run's events tell of the refused guest";
  for (const pid_t pid : pids_) EXPECT_TRUE(process_lives(pid)) << "and the job goes on";
}

TEST_F(Secrecy, EverySocketIsOnLoopback) {
  std::vector<std::string> inodes;
  for (const pid_t pid : pids_) {
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
      std::error_code error;
      const std::string target = fs::read_symlink(entry.path(), error).string();
      if (target.starts_with("socket:[")) inodes.push_back(target.substr(8, target.size() - 9));
    }
  }
  ASSERT_FALSE(inodes.empty());
  int internet_sockets = 0;
  for (const char* table : {"tcp", "tcp6", "udp", "udp6"}) {
    for (const std::string& line : lines_of(read_file(std::string("/proc/net/") + table))) {
      std::istringstream words(line);
      std::vector<std::string> fields;
      for (std::string word; words >> word;) fields.push_back(word);
      if (fields.size() < 10 || std::find(inodes.begin(), inodes.end(), fields[9]) == inodes.end()) continue;
      ++internet_sockets;
      EXPECT_TRUE(fields[1].starts_with("0100007F:")) << table << ": " << line;
    }
  }
  EXPECT_GE(internet_sockets, 1) << "the store listens";
}

}  // namespace
}  // namespace rondo::test
