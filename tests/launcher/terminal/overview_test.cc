#include "launcher/terminal/overview.h"

#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

TEST(Overview, KeepsTheLastLinesOfAllRanks) {
  Overview overview;
  overview.begin(0, {{.host = "a"}, {.host = "b"}});
  const int count = static_cast<int>(Overview::kMostLines) + 7;
  for (int i = 0; i < count; ++i) overview.line(i % 2, Channel::kOutput, std::to_string(i), comm::Clock::now());
  ASSERT_EQ(overview.lines().size(), Overview::kMostLines);
  EXPECT_EQ(overview.lines().front().text, "7");
  EXPECT_EQ(overview.lines().front().rank, 1);
  EXPECT_EQ(overview.lines().back().text, std::to_string(count - 1));
}

TEST(Overview, KeepsABoundedAmountOfBytes) {
  Overview overview;
  overview.begin(0, {{.host = "a"}});
  const std::string long_line(64 * 1024, 'x');
  for (int i = 0; i < 20; ++i) overview.line(0, Channel::kErrors, long_line, comm::Clock::now());
  EXPECT_EQ(overview.lines().size(), Overview::kMostLineBytes / long_line.size());
}

TEST(Overview, ForgetsRanksButNotLinesWithAGeneration) {
  Overview overview;
  EXPECT_EQ(overview.phase(), Overview::Phase::kGathering);
  overview.begin(0, {{.host = "a"}});
  EXPECT_EQ(overview.phase(), Overview::Phase::kRunning);
  overview.started(0, 4711);
  overview.progress(0, {.epoch = 1, .epochs = 3, .step = 5, .steps = 9, .phase = "training"});
  overview.said(0, "hello");
  overview.stopping();
  overview.begin(1, {{.host = "a"}});
  EXPECT_EQ(overview.phase(), Overview::Phase::kStopping);
  EXPECT_EQ(overview.generation(), 1);
  EXPECT_EQ(overview.ranks()[0].pid, -1);
  EXPECT_FALSE(overview.ranks()[0].progress);
  ASSERT_EQ(overview.lines().size(), 1u);
  EXPECT_EQ(overview.lines()[0].kind, Overview::Line::Kind::kSaid);
}

TEST(Overview, HasTheLastLinesOfOneRankOfThisGeneration) {
  Overview overview;
  overview.begin(0, {{.host = "a"}, {.host = "b"}});
  overview.line(1, Channel::kErrors, "of the generation before", comm::Clock::now());
  overview.begin(1, {{.host = "a"}, {.host = "b"}});
  for (const char* text : {"one", "two", "three\x1b"}) overview.line(1, Channel::kErrors, text, comm::Clock::now());
  overview.line(0, Channel::kErrors, "of another", comm::Clock::now());
  overview.line(1, Channel::kOutput, "to stdout", comm::Clock::now());
  overview.said(1, "said");
  EXPECT_EQ(overview.last_lines(1, Channel::kErrors, 20), (std::deque<std::string>{"one", "two", "three\\x1b"}));
  EXPECT_EQ(overview.last_lines(1, Channel::kErrors, 1), (std::deque<std::string>{"three\\x1b"}));
  EXPECT_EQ(overview.last_lines(1, Channel::kOutput, 20), (std::deque<std::string>{"to stdout"}));
}

TEST(Overview, TellsWhoListensFromThenOn) {
  Overview overview;
  overview.begin(0, {{.host = "a"}});
  std::vector<std::string> heard;
  overview.line(0, Channel::kOutput, "before", comm::Clock::now());
  overview.listen([&](const Overview::Line& line) { heard.push_back(line.text); });
  overview.line(0, Channel::kOutput, "then", comm::Clock::now());
  overview.listen({});
  overview.line(0, Channel::kOutput, "after", comm::Clock::now());
  EXPECT_EQ(heard, std::vector<std::string>{"then"});
}

}  // namespace
}  // namespace rondo::launcher
