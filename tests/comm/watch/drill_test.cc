/// Liveness drills with real processes: four ranks all-reduce, and one is killed, stopped or leaves. What must hold:
/// every other rank ends, names the rank, its process and the evidence, and nobody hangs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"
#include "rondo/comm/secret.h"
#include "tests/support/process.h"
#include "tests/support/soak.h"

namespace rondo::comm {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

constexpr int kRanks = 4;

uint64_t now_ns() { return static_cast<uint64_t>(Clock::now().time_since_epoch().count()); }

/// Four ranks that no agent started, and what they say.
class Drill : public testing::Test {
 protected:
  void start(const std::vector<std::string>& settings, int special = -1, const std::string& special_setting = "") {
    ranks_.clear();
    const std::string place = JobId::draw(*real_env()).hex();
    for (int rank = 0; rank < kRanks; ++rank) {
      auto arguments = settings;
      if (rank == special) arguments.push_back(special_setting);
      ranks_.emplace_back(test::Process::Options{.program = RONDO_DRILL_WORKER,
                                                 .arguments = arguments,
                                                 .environment = {{"RANK", std::to_string(rank)},
                                                                 {"WORLD_SIZE", std::to_string(kRanks)},
                                                                 {"LOCAL_RANK", std::to_string(rank)},
                                                                 {"LOCAL_WORLD_SIZE", std::to_string(kRanks)},
                                                                 {"MASTER_ADDR", place},
                                                                 {"MASTER_PORT", "1"}}});
    }
  }
  testing::AssertionResult all_ready() {
    for (int rank = 0; rank < kRanks; ++rank) {
      const json said = say(rank);
      if (!said.contains("ready")) return testing::AssertionFailure() << "rank " << rank << " says " << said;
    }
    return testing::AssertionSuccess();
  }
  /// The next thing that a rank says; null when it says nothing more.
  json say(int rank, std::chrono::milliseconds deadline = 20s) {
    const auto line = of(rank).line(deadline);
    return line ? json::parse(*line, nullptr, false) : json();
  }
  test::Process& of(int rank) { return ranks_[static_cast<size_t>(rank)]; }
  std::string person(int rank) const {
    return "rank " + std::to_string(rank) + " (pid " + std::to_string(ranks_[static_cast<size_t>(rank)].pid()) + ")";
  }
  /// Kills a rank and gives back when.
  uint64_t kill(int rank) {
    const uint64_t at = now_ns();
    of(rank).signal(SIGKILL);
    return at;
  }

  std::vector<test::Process> ranks_;
};

/// Busy, so that the moment is a random one and not the next tick.
void spin(std::chrono::nanoseconds duration) {
  const auto end = Clock::now() + duration;
  while (Clock::now() < end) std::this_thread::yield();
}

TEST_F(Drill, EverySurvivorOfAKilledRankNamesRankProcessAndEvidence) {
  const test::SoakRounds rounds = test::soak_rounds(50);
  std::vector<double> keeper_ms, call_ms;
  for (uint64_t round = rounds.first; round < rounds.first + rounds.count; ++round) {
    SCOPED_TRACE("RONDO_SOAK_FIRST=" + std::to_string(round) + " RONDO_SOAK_COUNT=1");
    std::mt19937_64 random(round);
    const int victim = static_cast<int>(random() % kRanks);
    start({"linger=1"});
    ASSERT_TRUE(all_ready());
    spin(std::chrono::microseconds(random() % 20'000));
    const std::string who = person(victim);
    const uint64_t killed = kill(victim);
    for (int rank = 0; rank < kRanks; ++rank) {
      if (rank == victim) continue;
      SCOPED_TRACE("rank " + std::to_string(rank) + " of the survivors of rank " + std::to_string(victim));
      const json said = say(rank, 10s);
      ASSERT_TRUE(said.contains("code")) << "it hangs: " << said;
      EXPECT_EQ(said["code"], "kPeerLost");
      EXPECT_EQ(said["peer"], victim);
      EXPECT_THAT(said["text"].get<std::string>(),
                  AllOf(HasSubstr(who + " died: the kernel released its robust mutex"), HasSubstr("all_reduce")));
      ASSERT_GT(said["alarmed_ns"].get<uint64_t>(), killed);
      keeper_ms.push_back(static_cast<double>(said["alarmed_ns"].get<uint64_t>() - killed) / 1e6);
      call_ms.push_back(static_cast<double>(said["at_ns"].get<uint64_t>() - killed) / 1e6);
    }
  }
  test::print_samples("kill_to_keeper_ms", keeper_ms);
  test::print_samples("kill_to_error_ms", call_ms);
}

// Its sockets are closed only after its memory is taken apart, which takes a third of a millisecond for each MiB.
TEST_F(Drill, TheDeathOfALargeProcessIsSeenAsEarlyAsThatOfASmallOne) {
  const test::SoakRounds rounds = test::soak_rounds(3);
  std::vector<double> keeper_ms;
  for (uint64_t round = rounds.first; round < rounds.first + rounds.count; ++round) {
    const int victim = static_cast<int>(round % kRanks);
    start({"linger=1"}, victim, "rss_mib=512");
    ASSERT_TRUE(all_ready());
    const std::string who = person(victim);
    const uint64_t killed = kill(victim);
    for (int rank = 0; rank < kRanks; ++rank) {
      if (rank == victim) continue;
      const json said = say(rank, 10s);
      ASSERT_TRUE(said.contains("code")) << "it hangs: " << said;
      EXPECT_EQ(said["peer"], victim);
      EXPECT_THAT(said["text"].get<std::string>(), HasSubstr(who + " died: the kernel released its robust mutex"));
      ASSERT_GT(said["alarmed_ns"].get<uint64_t>(), killed);
      keeper_ms.push_back(static_cast<double>(said["alarmed_ns"].get<uint64_t>() - killed) / 1e6);
    }
  }
  test::print_samples("kill_of_512_mib_to_keeper_ms", keeper_ms);
}

TEST_F(Drill, TwoRanksKilledAtOnceAreTheOnlyOnesThatAreBlamed) {
  for (const auto& [first, second] : {std::pair{0, 1}, {1, 2}, {1, 3}, {3, 0}}) {
    start({});
    ASSERT_TRUE(all_ready());
    const std::string one = person(first), two = person(second);
    kill(first);
    kill(second);
    for (int rank = 0; rank < kRanks; ++rank) {
      if (rank == first || rank == second) continue;
      const json said = say(rank, 10s);
      ASSERT_TRUE(said.contains("code")) << "it hangs: " << said;
      EXPECT_EQ(said["code"], "kPeerLost");
      EXPECT_TRUE(said["peer"] == first || said["peer"] == second) << said;
      EXPECT_THAT(said["text"].get<std::string>(), testing::AnyOf(HasSubstr(one + " died"), HasSubstr(two + " died")));
      EXPECT_EQ(of(rank).end(), 1);
    }
  }
}

// Before there is a page, and without an agent, a rank knows only whom it waits for: if that one gave up because of the
// dead rank, the blame leads there in two steps.
TEST_F(Drill, ARankThatIsKilledWhileTheGroupFormsIsWhereAllBlameLeads) {
  for (uint64_t round = 0; round < 8; ++round) {
    std::mt19937_64 random(round);
    const int victim = static_cast<int>(random() % kRanks);
    SCOPED_TRACE("round " + std::to_string(round) + ": rank " + std::to_string(victim));
    start({"create_ms=2000"});
    spin(std::chrono::microseconds(random() % 60'000));
    kill(victim);
    std::array<int, kRanks> blamed{};
    for (int rank = 0; rank < kRanks; ++rank) {
      if (rank == victim) continue;
      json said = say(rank, 15s);
      if (said.contains("ready")) said = say(rank, 10s);  // the group had formed already
      ASSERT_TRUE(said.contains("code")) << "it hangs: " << said;
      blamed[static_cast<size_t>(rank)] = said["peer"];
      EXPECT_THAT(said["text"].get<std::string>(), HasSubstr("rank " + said["peer"].dump())) << "rank " << rank;
      EXPECT_EQ(of(rank).end(), 1);
    }
    for (int rank = 0; rank < kRanks; ++rank) {
      int cause = rank;
      for (int step = 0; step < 2 && cause != victim && cause >= 0; ++step) cause = blamed[static_cast<size_t>(cause)];
      EXPECT_EQ(cause, victim) << "rank " << rank << " blames " << blamed[static_cast<size_t>(rank)];
    }
  }
}

TEST_F(Drill, ARankThatLeavesInOrderIsNoDeath) {
  start({}, 2, "leave=20");
  ASSERT_TRUE(all_ready());
  EXPECT_TRUE(say(2).contains("digest"));
  EXPECT_EQ(of(2).end(), 0);
  for (const int rank : {0, 1, 3}) {
    const json said = say(rank, 10s);
    ASSERT_TRUE(said.contains("code")) << said;
    EXPECT_EQ(said["code"], "kClosed");
    EXPECT_EQ(said["peer"], 2);
    EXPECT_THAT(said["text"].get<std::string>(), AllOf(HasSubstr("rank 2"), HasSubstr("left"), Not(HasSubstr("died"))));
    EXPECT_EQ(of(rank).end(), 1);
  }
}

TEST_F(Drill, ARankThatIsStoppedForASecondAndContinuedChangesNoBit) {
  std::vector<std::string> digests;
  for (const int stopped : {-1, 1}) {
    start({"rounds=200"});
    ASSERT_TRUE(all_ready());
    if (stopped >= 0) {
      of(stopped).signal(SIGSTOP);
      EXPECT_FALSE(of((stopped + 1) % kRanks).line(1s)) << "nobody can finish without it";
      of(stopped).signal(SIGCONT);
    }
    for (int rank = 0; rank < kRanks; ++rank) {
      const json said = say(rank, 20s);
      ASSERT_TRUE(said.contains("digest")) << "rank " << rank << " says " << said;
      digests.push_back(said["digest"]);
      EXPECT_EQ(of(rank).end(), 0);
    }
  }
  for (const std::string& digest : digests) EXPECT_EQ(digest, digests.front());
}

TEST_F(Drill, ATimeoutNamesTheRankThatIsStopped) {
  start({"timeout_ms=700"});
  ASSERT_TRUE(all_ready());
  const std::string who = person(3);
  of(3).signal(SIGSTOP);
  for (const int rank : {0, 1, 2}) {
    const json said = say(rank, 10s);
    ASSERT_TRUE(said.contains("code")) << said;
    EXPECT_EQ(said["code"], "kTimeout");
    EXPECT_EQ(said["peer"], 3);
    EXPECT_THAT(said["text"].get<std::string>(), AllOf(HasSubstr(who + " has not beaten for 0."),
                                                       HasSubstr("stopped (SIGSTOP"), HasSubstr("not evicted")));
    EXPECT_EQ(of(rank).end(), 1);
  }
  of(3).signal(SIGCONT);
  const json said = say(3, 10s);
  ASSERT_TRUE(said.contains("code")) << "it goes on, and learns what happened: " << said;
  EXPECT_EQ(said["peer"], 3);
}

}  // namespace
}  // namespace rondo::comm
