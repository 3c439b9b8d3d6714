/// The harness can fail: systems that lose, change, repeat or blame wrongly are found out.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "tests/comm/sim/interleaving.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

bool complains_of(const Verdict& verdict, const std::string& words) {
  return std::any_of(verdict.complaints.begin(), verdict.complaints.end(),
                     [&](const std::string& complaint) { return complaint.find(words) != std::string::npos; });
}

/// Four ranks add numbers, over three segments a chunk; nothing goes wrong.
Story plain_story(TransportKind transport) {
  Story story{.ranks = 4, .transport = transport, .algorithm = "ring", .segment_bytes = 64};
  story.lines.push_back({.call = {.kind = CallKind::kAllReduce, .dtype = DType::kInt64, .size = CallSize::kSegments}});
  story.lines.push_back({.call = {.number = 1, .kind = CallKind::kBarrier}});
  return story;
}

FaultPlan::Planned once(FaultKind kind, Act act, uint64_t nth) {
  return {.kind = kind, .rank = 2, .act = act, .nth = nth};
}

class Mutations : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(Harness, Mutations, testing::Values(TransportKind::kInproc, TransportKind::kTcp),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(Mutations, WithoutOneThePlainStoryEndsRight) {
  const Verdict verdict = play(plain_story(GetParam()));
  EXPECT_TRUE(verdict.complaints.empty()) << verdict.complaints.front();
  EXPECT_EQ(verdict.right, 8);
  EXPECT_EQ(verdict.failed, 0);
}

TEST_P(Mutations, AByteThatChangesAboveTheChecksumsIsAWrongResult) {
  // Message 0 is the descriptor; every one of the payloads counts.
  for (uint64_t message = 1; message <= 18; ++message) {
    Story story = plain_story(GetParam());
    story.faults.seed = message;
    story.faults.planned.push_back(once(FaultKind::kFlipAbove, Act::kReceive, message));
    const Verdict verdict = play(story);
    EXPECT_GE(verdict.faults[static_cast<size_t>(FaultKind::kFlipAbove)], 1u);
    EXPECT_TRUE(complains_of(verdict, "wrong result: call 0 (all_reduce")) << "message " << message;
  }
}

TEST_P(Mutations, OneLostMessageIsNoticedByWhatComesInItsPlace) {
  for (uint64_t message = 0; message <= 24; message += 3) {
    Story story = plain_story(GetParam());
    story.faults.planned.push_back(once(FaultKind::kLose, Act::kSend, message));
    EXPECT_TRUE(complains_of(play(story), "is an error of a story without trouble")) << "message " << message;
  }
}

/// Rank 2 loses all that it sends from `first` on, and believes that it arrived.
Story losing_story(TransportKind transport, uint64_t first) {
  Story story = plain_story(transport);
  for (uint64_t message = first; message < 200; ++message) {
    story.faults.planned.push_back(once(FaultKind::kLose, Act::kSend, message));
  }
  return story;
}

TEST_P(Mutations, LostMessagesAreAHangWhenVirtualTimeEndsFirst) {
  for (uint64_t first = 0; first <= 18; first += 3) {
    Story story = losing_story(GetParam(), first);
    story.operation_timeout = 1h;
    EXPECT_TRUE(complains_of(play(story), "rank 3 hangs: line 2 of 2; group 0, call 0")) << "from message " << first;
  }
}

TEST_P(Mutations, LostMessagesAreAnErrorOfTheGroupsOwnTimeoutThatThisStoryDoesNotExplain) {
  const Verdict verdict = play(losing_story(GetParam(), 5));
  EXPECT_TRUE(complains_of(verdict, "kTimeout"));
  EXPECT_TRUE(complains_of(verdict, "is an error of a story without trouble"));
  EXPECT_FALSE(complains_of(verdict, "hangs"));
}

TEST_P(Mutations, ARepeatedMessageIsNoticed) {
  for (uint64_t message = 0; message <= 12; message += 3) {
    Story story = plain_story(GetParam());
    story.faults.planned.push_back(once(FaultKind::kRepeat, Act::kSend, message));
    EXPECT_FALSE(play(story).complaints.empty()) << "message " << message;
  }
}

TEST_P(Mutations, ADeathThatIsBlamedOnAnotherIsAComplaint) {
  Story story = plain_story(GetParam());
  story.trouble = Trouble::kDeath;
  story.death_known_after = 10ms;
  story.faults.planned.push_back(once(FaultKind::kKill, Act::kSend, 3));
  story.victim = 2;
  const Verdict right = play(story);
  EXPECT_TRUE(right.complaints.empty()) << right.complaints.front();
  EXPECT_GT(right.failed, 0);
  story.victim = 1;  // as if the system had named the wrong one
  EXPECT_TRUE(complains_of(play(story), "blames another than the dead rank"));
}

TEST_P(Mutations, ADeathThatNobodyTellsOfEndsTooLateOrWithTheWrongCode) {
  Story story = plain_story(GetParam());
  story.trouble = Trouble::kDeath;
  story.victim = 2;
  story.death_known_after = 10h;
  story.faults.planned.push_back(once(FaultKind::kKill, Act::kSend, 3));
  const Verdict verdict = play(story);
  // Streams tell of it by themselves; queues in one process do not.
  EXPECT_EQ(verdict.complaints.empty(), GetParam() == TransportKind::kTcp);
}

TEST(Replay, TheSameSeedGivesTheSameEventsAndAnotherSeedOthers) {
  std::set<uint64_t> hashes;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const Story story = draw_story(seed);
    const Verdict first = play(story);
    const Verdict again = play(draw_story(seed));
    EXPECT_EQ(first.trace_hash, again.trace_hash) << seed;
    EXPECT_EQ(first.event_count, again.event_count) << seed;
    EXPECT_EQ(first.faults_told, again.faults_told) << seed;
    EXPECT_EQ(first.complaints, again.complaints) << seed;
    hashes.insert(first.trace_hash);
  }
  EXPECT_EQ(hashes.size(), 60u);
}

TEST(Replay, AReportPrintsTheSeedAndTheCommandThatPlaysItAgain) {
  const Story story = draw_story(77);
  const std::string text = report(story, {.complaints = {"something"}});
  EXPECT_NE(text.find("seed 77: "), std::string::npos) << text;
  EXPECT_NE(text.find("-> something"), std::string::npos) << text;
  EXPECT_NE(text.find("RONDO_SOAK_COUNT=1 RONDO_SOAK_FIRST=77 /"), std::string::npos) << text;
  EXPECT_NE(text.find("--gtest_filter=Interleavings.EndIn"), std::string::npos) << text;
}

}  // namespace
}  // namespace rondo::comm
