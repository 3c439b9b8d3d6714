#include "launcher/agent/line_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace rondo::launcher {
namespace {

using Stream = ColourWishes::Stream;

LineFacts facts(std::vector<int> ranks) {
  const std::chrono::system_clock::time_point time(std::chrono::milliseconds(1'738'324'800'123));
  return {.ranks = std::move(ranks), .channel = Channel::kErrors, .time = time, .host = "node7"};
}

TEST(LineFormat, HasFourStyles) {
  EXPECT_EQ(format_line(Prefix::kNone, Colour::kNone, facts({1}), "hello"), "hello");
  EXPECT_EQ(format_line(Prefix::kRank, Colour::kNone, facts({1}), "hello"), "[rank 1] hello");
  EXPECT_EQ(format_line(Prefix::kRank, Colour::kNone, facts({0, 1, 2, 5}), "hello"), "[ranks 0-2,5] hello");
  EXPECT_EQ(format_line(Prefix::kFull, Colour::kNone, facts({1}), "hello"),
            "[2025-01-31T12:00:00.123Z node7 rank 1 stderr] hello");
  EXPECT_EQ(format_line(Prefix::kJson, Colour::kByRank, facts({1}), "say \"hi\""),
            R"({"time":"2025-01-31T12:00:00.123Z","host":"node7","rank":1,"stream":"stderr","line":"say \"hi\""})");
}

TEST(LineFormat, EscapesWhatSteersATerminalInEveryStyle) {
  const std::string line = "a\x1b[2Jb";
  EXPECT_EQ(format_line(Prefix::kNone, Colour::kNone, facts({0}), line), "a\\x1b[2Jb");
  const std::string json = format_line(Prefix::kJson, Colour::kNone, facts({0, 1}), line + "\xff");
  EXPECT_EQ(json.find('\x1b'), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(json)["line"], line + "\xef\xbf\xbd") << "what is no UTF-8 becomes U+FFFD";
  EXPECT_EQ(nlohmann::json::parse(json)["ranks"], nlohmann::json({0, 1}));
}

TEST(LineFormat, FillsTorchrunsTemplateByPythonsRules) {
  const PrefixFacts facts{.role_name = "actor", .rank = "5", .local_rank = "1"};
  EXPECT_EQ(fill_prefix("[${role_name}${rank}|${local_rank}]:", facts), "[actor5|1]:");
  EXPECT_EQ(fill_prefix("$rank: ", facts), "5: ");
  EXPECT_EQ(fill_prefix("$rank/$local_rank ", facts), "5/1 ");
  EXPECT_EQ(fill_prefix("$$rank $ ${rank ${other} $other $ranks $", facts), "$rank $ ${rank ${other} $other $ranks $");
  EXPECT_EQ(fill_prefix("", facts), "");
}

TEST(LineFormat, ColoursThePrefixOnlyAndDiffersBetweenNeighbours) {
  const std::string one = format_line(Prefix::kRank, Colour::kByRank, facts({1}), "x");
  EXPECT_TRUE(one.starts_with("\x1b[")) << one;
  EXPECT_TRUE(one.ends_with("[rank 1]\x1b[0m x")) << one;
  EXPECT_NE(one.substr(0, 5), format_line(Prefix::kRank, Colour::kByRank, facts({2}), "x").substr(0, 5));
}

TEST(LineFormat, IsColouredOnATerminalUnlessNoColorAndElsewhereOnlyWhenForced) {
  EXPECT_EQ(colour_for({.term = "xterm", .stream = Stream::kTerminal}), Colour::kByRank);
  EXPECT_EQ(colour_for({.no_color = "", .term = "xterm", .stream = Stream::kTerminal}), Colour::kByRank);
  EXPECT_EQ(colour_for({.no_color = "1", .term = "xterm", .stream = Stream::kTerminal}), Colour::kNone);
  EXPECT_EQ(colour_for({.no_color = "1", .clicolor_force = "1"}), Colour::kNone);
  EXPECT_EQ(colour_for({.term = "dumb", .stream = Stream::kTerminal}), Colour::kNone);
  EXPECT_EQ(colour_for({.term = "xterm"}), Colour::kNone);
  EXPECT_EQ(colour_for({.clicolor_force = "1"}), Colour::kByRank);
  EXPECT_EQ(colour_for({.clicolor_force = "0", .term = "xterm"}), Colour::kNone);
}

TEST(LineFormat, WritesRanksAsRanges) {
  EXPECT_EQ(rank_ranges({3}), "3");
  EXPECT_EQ(rank_ranges({0, 1}), "0-1");
  EXPECT_EQ(rank_ranges({0, 2, 3, 4, 7}), "0,2-4,7");
}

}  // namespace
}  // namespace rondo::launcher
