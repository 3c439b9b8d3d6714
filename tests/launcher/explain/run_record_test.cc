#include "launcher/explain/run_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/explain/findings.h"
#include "launcher/explain/words.h"

namespace rondo::launcher {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr uint64_t kSecond = 1'000'000'000;

/// A record of `host`, where it was `now` when the agent took it; its keeper beat just before.
RankRecord taken(int number, const std::string& host, uint64_t now) {
  comm::Flight flight{.at = {.rank = number, .world_size = 2}, .pid = 4000 + number};
  flight.host = host;
  flight.taken_ns = now;
  flight.beat_ns = now - kSecond / 100;
  flight.records.push_back({.group = 77, .called_ns = now - 3 * kSecond, .started_ns = now - 2 * kSecond});
  return {.rank = number, .pid = 4000 + number, .flight = std::move(flight)};
}

TEST(Clocks, OfHostsThatStartedAtDifferentTimesAreMovedOntoOne) {
  RunRecord run{.folder = "runs/x", .state = RunState::kRunning};
  run.ranks = {taken(0, "a", 1000 * kSecond), taken(1, "b", 7 * kSecond)};
  align_clocks(run);
  const comm::Flight &first = *run.ranks[0].flight, &second = *run.ranks[1].flight;
  EXPECT_EQ(second.taken_ns, first.taken_ns);
  EXPECT_EQ(second.beat_ns, first.beat_ns);
  EXPECT_EQ(second.records[0].called_ns, first.records[0].called_ns);
  EXPECT_EQ(second.records[0].started_ns, first.records[0].started_ns);
  EXPECT_EQ(second.records[0].ended_ns, 0u) << "it has not ended";
  run.now_ns = first.taken_ns;
  for (const Finding& finding : explain(run).findings) EXPECT_NE(finding.kind, FindingKind::kStopped) << finding.text;
}

TEST(Clocks, OfOneHostStayAsTheyAre) {
  RunRecord run{.folder = "runs/x"};
  run.ranks = {taken(0, "a", 1000 * kSecond), taken(1, "a", 1000 * kSecond - 5)};
  align_clocks(run);
  EXPECT_EQ(run.ranks[0].flight->beat_ns, 1000 * kSecond - kSecond / 100);
  EXPECT_EQ(run.ranks[1].flight->beat_ns, 1000 * kSecond - kSecond / 100 - 5);
}

TEST(Records, ThatDidNotComeFromTheirHostAreSaid) {
  RunRecord run{.folder = "runs/x"};
  apply_events(R"({"kind":"spawn","rank":0,"pid":1}
{"kind":"spawn","rank":1,"pid":2}
{"kind":"flight","cause":"request","ranks":[],"missing":[0,1],"errors":[]}
{"kind":"flight","cause":"request","ranks":[0],"missing":[1],"errors":[]})",
               Launcher::kLives, run);
  ASSERT_EQ(run.ranks.size(), 2u);
  EXPECT_FALSE(run.ranks[0].missing);
  EXPECT_TRUE(run.ranks[1].missing);
  run.ranks[0].flight = taken(0, "a", kSecond).flight;
  EXPECT_THAT(explanation_lines(run, explain(run)),
              Contains("rank 1 (pid 2): its flight record did not come from its host in time, or the host is lost"));
}

}  // namespace
}  // namespace rondo::launcher
