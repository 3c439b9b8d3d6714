#include "launcher/agent/line_merger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "launcher/agent/line_format.h"

namespace rondo::launcher {
namespace {

using testing::ElementsAre;

/// A merger, a clock that is turned by hand, and what came out: "0-2 text".
class Merging {
 public:
  explicit Merging(int ranks) : merger_(ranks) {}
  void add(int rank, const std::string& text, Channel channel = Channel::kOutput) {
    merger_.add(rank, channel, text, now_, take());
  }
  void pass(std::chrono::milliseconds time) {
    now_ += time;
    merger_.flush_due(now_, take());
  }
  void end() { merger_.flush_all(take()); }
  std::vector<std::string> lines;
  LineMerger& merger() { return merger_; }

 private:
  LineMerger::Emit take() {
    return [this](const MergedLine& line) { lines.push_back(rank_ranges(line.ranks) + " " + line.text); };
  }
  LineMerger merger_;
  comm::TimePoint now_{};
};

TEST(LineMerger, MakesOneLineOfEqualLinesOfAllRanksAtOnce) {
  Merging merging(3);
  for (const int rank : {2, 0, 1}) merging.add(rank, "loaded");
  EXPECT_THAT(merging.lines, ElementsAre("0-2 loaded"));
  EXPECT_EQ(merging.merger().due(), std::nullopt);
}

TEST(LineMerger, WaitsAWindowForTheOthersAndNoLonger) {
  Merging merging(3);
  merging.add(0, "loaded");
  merging.pass(LineMerger::kWindow - std::chrono::milliseconds(1));
  merging.add(2, "loaded");
  EXPECT_THAT(merging.lines, ElementsAre());
  merging.pass(std::chrono::milliseconds(1));
  EXPECT_THAT(merging.lines, ElementsAre("0,2 loaded"));
  merging.add(1, "loaded");
  merging.end();
  EXPECT_THAT(merging.lines, ElementsAre("0,2 loaded", "1 loaded"));
}

TEST(LineMerger, KeepsStreamsApart) {
  Merging merging(2);
  merging.add(0, "x");
  merging.add(1, "x", Channel::kErrors);
  merging.end();
  EXPECT_THAT(merging.lines, ElementsAre("0 x", "1 x"));
}

TEST(LineMerger, NeverSwapsTwoLinesOfOneRank) {
  Merging merging(2);
  merging.add(0, "a");
  merging.add(0, "b");
  merging.add(1, "b");
  merging.add(1, "a");  // behind its b: it may not join the a that came before
  merging.end();
  EXPECT_THAT(merging.lines, ElementsAre("0 a", "0-1 b", "1 a"));
}

TEST(LineMerger, CountsEqualLinesOfOneRankEachForItself) {
  Merging merging(2);
  for (int i = 0; i < 2; ++i)
    for (const int rank : {0, 1}) merging.add(rank, "same");
  EXPECT_THAT(merging.lines, ElementsAre("0-1 same", "0-1 same"));
}

TEST(LineMerger, LosesNothingAndKeepsOrderUnderAFlood) {
  constexpr int kRanks = 5, kLines = 3000;
  Merging merging(kRanks);
  for (int i = 0; i < kLines; ++i)
    for (int rank = 0; rank < kRanks; ++rank)
      merging.add(rank, std::to_string(i) + (rank == i % kRanks ? " differs" : " equal"));
  merging.end();
  std::map<int, int> seen;
  for (const std::string& line : merging.lines) {
    const size_t space = line.find(' ');
    for (int rank = 0; rank < kRanks; ++rank) {
      const bool differs = line.ends_with("differs");
      const int number = std::atoi(line.c_str() + space);
      if (differs == (rank == number % kRanks)) {
        EXPECT_EQ(seen[rank]++, number) << "rank " << rank;
      }
    }
  }
  for (int rank = 0; rank < kRanks; ++rank) EXPECT_EQ(seen[rank], kLines);
}

}  // namespace
}  // namespace rondo::launcher
