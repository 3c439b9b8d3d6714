/// Thousands of seeded stories: fake ranks, drawn calls, turns and faults. A round plays the story of its number; see
/// tests/support/soak.h for how to run some of them, or one again.
#include <gtest/gtest.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "tests/comm/sim/interleaving.h"
#include "tests/support/soak.h"

namespace rondo::comm {
namespace {

constexpr uint64_t kRoundsInCi = 2000;
constexpr int kFailuresTold = 5;

TEST(Interleavings, EndInARightResultOrANamedErrorNeverInAHang) {
  const test::SoakRounds rounds = test::soak_rounds(kRoundsInCi);
  std::array<uint64_t, kFaultKindCount> faults{};
  std::array<uint64_t, kTroubleCount> stories{}, troubles{};  // by trouble: all, and those in which a call failed
  uint64_t right = 0, failed = 0, turns = 0;
  int failures = 0;
  for (uint64_t seed = rounds.first; seed < rounds.first + rounds.count && failures < kFailuresTold; ++seed) {
    const Story story = draw_story(seed);
    const Verdict verdict = play(story);
    for (size_t kind = 0; kind < faults.size(); ++kind) faults[kind] += verdict.faults[kind];
    ++stories[static_cast<size_t>(story.trouble)];
    troubles[static_cast<size_t>(story.trouble)] += verdict.failed > 0 ? 1 : 0;
    right += static_cast<uint64_t>(verdict.right);
    failed += static_cast<uint64_t>(verdict.failed);
    turns += verdict.turns;
    if (verdict.complaints.empty()) continue;
    ++failures;
    ADD_FAILURE() << report(story, verdict);
  }
  std::printf("%" PRIu64 " seeds, %" PRIu64 " turns: %" PRIu64 " right results, %" PRIu64 " named errors; faults:",
              rounds.count, turns, right, failed);
  for (size_t kind = 0; kind < faults.size(); ++kind) {
    std::printf(" %s %" PRIu64, std::string(name(static_cast<FaultKind>(kind))).c_str(), faults[kind]);
  }
  std::printf("; stories that failed, by trouble:");
  for (size_t i = 0; i < troubles.size(); ++i) {
    std::printf(" %s %" PRIu64 " of %" PRIu64, std::string(name(static_cast<Trouble>(i))).c_str(), troubles[i],
                stories[i]);
  }
  std::printf("\n");
  if (failures > 0 || rounds.count < kRoundsInCi) return;
  // Each kind of fault that a story may have did strike, and calls ended both ways.
  for (const FaultKind kind :
       {FaultKind::kDelay, FaultKind::kShort, FaultKind::kAgain, FaultKind::kRefuse, FaultKind::kDrop, FaultKind::kMute,
        FaultKind::kFlip, FaultKind::kStall, FaultKind::kKill}) {
    EXPECT_GT(faults[static_cast<size_t>(kind)], 0u) << name(kind);
  }
  constexpr auto kDrops = static_cast<size_t>(Trouble::kDrops), kFlips = static_cast<size_t>(Trouble::kFlips);
  for (size_t trouble = 1; trouble < troubles.size(); ++trouble) {
    if (trouble == kDrops && rounds.first > 0) continue;  // seldom an error: other 2,000 stories may have none
    EXPECT_GT(troubles[trouble], 0u) << name(static_cast<Trouble>(trouble));
  }
  EXPECT_EQ(troubles[0], 0u);
  // Links mend: only what strikes again and again is an error.
  EXPECT_LT(10 * troubles[kDrops], stories[kDrops]);
  EXPECT_LT(3 * troubles[kFlips], stories[kFlips]);
  EXPECT_GT(right, failed);
}

}  // namespace
}  // namespace rondo::comm
