/// Liveness drills over two hosts of two ranks: who dies, aborts or is cut off on one host is named on both.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "rondo/comm/deadline.h"
#include "tests/support/hosts.h"
#include "tests/support/job_over_hosts.h"
#include "tests/support/soak.h"

namespace rondo::comm {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

class HostDrill : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(test::Hosts::refusal(), "");
    hosts_.emplace(2);
    cable_ = hosts_->connect({.first = 0, .second = 1});
  }
  void start(std::vector<std::string> settings, int special = -1, const std::string& special_setting = "") {
    job_.reset();
    job_.emplace(*hosts_, test::JobOverHosts::Options{.program = RONDO_DRILL_WORKER,
                                                      .arguments = std::move(settings),
                                                      .master = hosts_->ipv4(cable_, 0),
                                                      .special = special,
                                                      .special_argument = special_setting});
    for (int rank = 0; rank < job_->rank_count(); ++rank) {
      const json said = say(rank);
      ASSERT_TRUE(said.contains("ready")) << "rank " << rank << " says " << said;
    }
  }
  json say(int rank, std::chrono::milliseconds deadline = 30s) {
    const auto line = job_->of(rank).line(deadline);
    return line ? json::parse(*line, nullptr, false) : json();
  }

  std::optional<test::Hosts> hosts_;
  std::optional<test::JobOverHosts> job_;
  int cable_ = 0;
};

TEST_F(HostDrill, AKilledRankIsNamedOnBothHostsWithProcessAndEvidence) {
  const test::SoakRounds rounds = test::soak_rounds(4);
  std::vector<double> near_ms, far_ms;
  for (uint64_t round = rounds.first; round < rounds.first + rounds.count; ++round) {
    const int victim = static_cast<int>(round % 4);
    SCOPED_TRACE("rank " + std::to_string(victim) + " is killed");
    ASSERT_NO_FATAL_FAILURE(start({"linger=1"}));
    const std::string who = "rank " + std::to_string(victim) + " (pid " + std::to_string(job_->of(victim).pid()) + ")";
    const auto killed = static_cast<uint64_t>(Clock::now().time_since_epoch().count());
    job_->of(victim).signal(SIGKILL);
    for (int rank = 0; rank < job_->rank_count(); ++rank) {
      if (rank == victim) continue;
      const json said = say(rank);
      ASSERT_TRUE(said.contains("code")) << "rank " << rank << " hangs: " << said;
      EXPECT_EQ(said["code"], "kPeerLost") << said;
      EXPECT_EQ(said["peer"], victim) << said;
      EXPECT_THAT(said["text"].get<std::string>(), HasSubstr(who + " died: the kernel released its robust mutex"));
      auto& samples = job_->host_of(rank) == job_->host_of(victim) ? near_ms : far_ms;
      samples.push_back(static_cast<double>(said["at_ns"].get<uint64_t>() - killed) / 1e6);
    }
  }
  test::print_samples("kill_to_error_same_host_ms", near_ms);
  test::print_samples("kill_to_error_other_host_ms", far_ms);
}

TEST_F(HostDrill, AnAbortReachesTheOtherHost) {
  for (const int aborter : {1, 2}) {
    ASSERT_NO_FATAL_FAILURE(start({"linger=1"}, aborter, "abort=20"));
    for (int rank = 0; rank < job_->rank_count(); ++rank) {
      const json said = say(rank);
      ASSERT_TRUE(said.contains("code")) << "rank " << rank << " hangs: " << said;
      EXPECT_EQ(said["code"], "kAborted") << said;
      EXPECT_EQ(said["peer"], aborter) << said;
      EXPECT_THAT(said["text"].get<std::string>(), HasSubstr("the drill says so"));
    }
  }
}

TEST_F(HostDrill, ACutCableEndsByTheOperationTimeoutAndNamesTheHostThatIsSilent) {
  ASSERT_NO_FATAL_FAILURE(start({"linger=1", "timeout_ms=3000"}));
  hosts_->cut(cable_);
  for (int rank = 0; rank < job_->rank_count(); ++rank) {
    const json said = say(rank);
    ASSERT_TRUE(said.contains("code")) << "rank " << rank << " hangs: " << said;
    EXPECT_EQ(said["code"], "kTimeout") << said;
    const int other = 1 - job_->host_of(rank);
    EXPECT_EQ(job_->host_of(said["peer"].get<int>()), other) << said;
    EXPECT_THAT(said["text"].get<std::string>(),
                AllOf(HasSubstr("nothing was heard from host host-" + std::to_string(other)), HasSubstr("cut")));
  }
}

TEST_F(HostDrill, RanksThatLeaveInOrderEndWithoutAnError) {
  ASSERT_NO_FATAL_FAILURE(start({"rounds=20"}));
  for (int rank = 0; rank < job_->rank_count(); ++rank) {
    const json said = say(rank);
    EXPECT_TRUE(said.contains("digest")) << "rank " << rank << " says " << said;
    EXPECT_EQ(job_->of(rank).end(), 0) << "rank " << rank;
  }
}

}  // namespace
}  // namespace rondo::comm
