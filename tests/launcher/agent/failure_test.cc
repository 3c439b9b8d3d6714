#include "launcher/agent/failure.h"

#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using std::chrono::milliseconds;

comm::TimePoint at(int ms) { return comm::TimePoint{} + milliseconds(ms); }
RankEvidence exited(int code, int ms) {
  return {.ending = Ending{.exit_code = code, .signal = 0, .at = at(ms)}, .report = {}, .told_of = {}};
}
RankEvidence killed(int signal, int ms) {
  return {.ending = Ending{.exit_code = 0, .signal = signal, .at = at(ms)}, .report = {}, .told_of = {}};
}
RankEvidence blaming(RankEvidence evidence, int culprit) {
  evidence.report = FailureReport{.culprit = culprit, .code = "kPeerLost", .text = "rank is gone"};
  return evidence;
}
const RankEvidence kRunning{};

TEST(Judge, NamesNobodyWhileNobodyFailed) {
  const std::vector<RankEvidence> ranks{kRunning, exited(0, 1)};
  EXPECT_FALSE(judge(ranks, at(5000)).culprit);
  EXPECT_FALSE(judge(ranks, at(5000)).until);
}

TEST(Judge, NamesAKilledRankAtOnce) {
  const std::vector<RankEvidence> ranks{kRunning, killed(9, 10), kRunning};
  EXPECT_EQ(judge(ranks, at(10)).culprit, 1);
}

TEST(Judge, WaitsForTheCulpritWhenAVictimIsSeenFirst) {
  std::vector<RankEvidence> ranks{blaming(exited(1, 10), 2), kRunning, kRunning};
  const Judgement early = judge(ranks, at(10));
  EXPECT_FALSE(early.culprit);
  EXPECT_EQ(early.until, at(10) + kCollectFor);
  ranks[2] = killed(9, 300);
  EXPECT_EQ(judge(ranks, at(300)).culprit, 2);
}

TEST(Judge, PrefersACrashOverABareExitThatCameBeforeIt) {
  const std::vector<RankEvidence> ranks{exited(1, 10), killed(11, 400), kRunning};
  EXPECT_EQ(judge(ranks, at(400)).culprit, 1);
}

TEST(Judge, TakesAVictimThatAbortsForAVictim) {
  const std::vector<RankEvidence> ranks{blaming(killed(6, 10), 1), exited(37, 20)};
  EXPECT_EQ(judge(ranks, at(20)).culprit, 1);
}

TEST(Judge, TakesARankThatCommToldOfALostOneForAVictim) {
  std::vector<RankEvidence> ranks{exited(1, 10), exited(1, 15), exited(37, 20)};
  ranks[0].told_of = 2;
  ranks[1].told_of = 0;  // it saw a victim go
  EXPECT_EQ(judge(ranks, at(20)).culprit, 2);
  ranks[2] = kRunning;
  EXPECT_FALSE(judge(ranks, at(20)).culprit);
  EXPECT_EQ(judge(ranks, at(10) + kCollectFor).culprit, 0) << "when nothing better comes";
}

TEST(Judge, BelievesACrashMoreThanWhatItWasToldBefore) {
  std::vector<RankEvidence> ranks{killed(11, 10), kRunning};
  ranks[0].told_of = 1;
  EXPECT_EQ(judge(ranks, at(10)).culprit, 0);
}

TEST(Judge, PrefersAnOwnReportOverASilentExit) {
  const std::vector<RankEvidence> ranks{exited(1, 10), blaming(exited(7, 20), 1), kRunning};
  EXPECT_FALSE(judge(ranks, at(20)).culprit);
  EXPECT_EQ(judge(ranks, at(10) + kCollectFor).culprit, 1);
}

TEST(Judge, TakesTheFirstVictimWhenTheBlamedRankNeverFails) {
  const std::vector<RankEvidence> ranks{blaming(exited(5, 30), 1), kRunning, blaming(exited(6, 20), 1)};
  EXPECT_FALSE(judge(ranks, at(1019)).culprit);
  EXPECT_EQ(judge(ranks, at(1020)).culprit, 2);
}

TEST(Judge, DecidesAsSoonAsAllEnded) {
  const std::vector<RankEvidence> ranks{exited(3, 10), exited(4, 20)};
  EXPECT_EQ(judge(ranks, at(20)).culprit, 0);
}

TEST(Judge, NeverBlamesARankThatTheLauncherStopped) {
  RankEvidence stopped = killed(15, 5);
  stopped.stopped_by_launcher = true;
  EXPECT_FALSE(judge(std::vector<RankEvidence>{stopped, exited(0, 9)}, at(5000)).culprit);
  EXPECT_EQ(judge(std::vector<RankEvidence>{stopped, exited(2, 9)}, at(5000)).culprit, 1);
}

TEST(Ending, DescribesItselfAndHasAShellsCode) {
  EXPECT_EQ(killed(9, 0).ending->describe(), "killed by signal 9 (SIGKILL)");
  EXPECT_EQ(killed(9, 0).ending->code(), 137);
  EXPECT_EQ(exited(37, 0).ending->describe(), "exited with code 37");
  EXPECT_EQ(exited(37, 0).ending->code(), 37);
}

TEST(Judge, GivesTheBlameToARankThatOthersWaitedForInVain) {
  const auto waited = [](int culprit, int ms) {
    RankEvidence evidence = exited(1, ms);
    evidence.told_of = culprit;
    evidence.told_timeout = true;
    return evidence;
  };
  std::vector<RankEvidence> ranks{waited(2, 10), waited(2, 20), kRunning};
  EXPECT_FALSE(judge(ranks, at(20)).culprit);
  const Judgement late = judge(ranks, at(10) + kCollectFor);
  EXPECT_EQ(late.culprit, 2);
  EXPECT_TRUE(late.hung);
  EXPECT_TRUE(blames_for_silence(ranks[0], 2));
  // It ended by itself after all: then that decides.
  ranks[2] = exited(9, 500);
  EXPECT_EQ(judge(ranks, at(500)).culprit, 2);
  EXPECT_FALSE(judge(ranks, at(500)).hung);
  // One that is only lost is a matter of how it ends.
  ranks = {blaming(exited(1, 10), 1), kRunning};
  EXPECT_EQ(judge(ranks, at(10) + kCollectFor).culprit, 0);
}

}  // namespace
}  // namespace rondo::launcher
