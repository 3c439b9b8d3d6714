/// Thousands of seeded stories: fake ranks, drawn calls, turns and faults.
///
/// RONDO_SOAK_COUNT: how many seeds are played (2,000); RONDO_SOAK_SEED: only this one, for a replay.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string>

#include "tests/comm/sim/interleaving.h"

namespace rondo::comm {
namespace {

struct Soak {
  uint64_t count = 2000;
  std::optional<uint64_t> only;
};

Soak read_soak() {
  Soak soak;
  if (const char* count = std::getenv("RONDO_SOAK_COUNT")) soak.count = std::stoull(count);
  if (const char* seed = std::getenv("RONDO_SOAK_SEED")) soak.only = std::stoull(seed);
  return soak;
}

TEST(Interleavings, EndInARightResultOrANamedErrorNeverInAHang) {
  const Soak soak = read_soak();
  if (soak.only) {
    const Story story = draw_story(*soak.only);
    const Verdict verdict = play(story);
    EXPECT_TRUE(verdict.complaints.empty());
    std::printf("%s", report(story, verdict).c_str());
    return;
  }
  std::array<uint64_t, kFaultKindCount> faults{};
  std::array<uint64_t, kTroubleCount> troubles{};
  uint64_t right = 0, failed = 0, turns = 0;
  int failures = 0;
  for (uint64_t seed = 1; seed <= soak.count && failures < 5; ++seed) {
    const Story story = draw_story(seed);
    const Verdict verdict = play(story);
    for (size_t kind = 0; kind < faults.size(); ++kind) faults[kind] += verdict.faults[kind];
    troubles[static_cast<size_t>(story.trouble)] += verdict.failed > 0 ? 1 : 0;
    right += static_cast<uint64_t>(verdict.right);
    failed += static_cast<uint64_t>(verdict.failed);
    turns += verdict.turns;
    if (verdict.complaints.empty()) continue;
    ++failures;
    ADD_FAILURE() << report(story, verdict);
  }
  std::printf("%lu seeds, %lu turns: %lu right results, %lu named errors; faults:", soak.count, turns, right, failed);
  for (size_t kind = 0; kind < faults.size(); ++kind) {
    std::printf(" %s %lu", std::string(name(static_cast<FaultKind>(kind))).c_str(), faults[kind]);
  }
  std::printf("; stories that failed, by trouble:");
  for (size_t i = 0; i < troubles.size(); ++i) {
    std::printf(" %s %lu", std::string(name(static_cast<Trouble>(i))).c_str(), troubles[i]);
  }
  std::printf("\n");
}

}  // namespace
}  // namespace rondo::comm
