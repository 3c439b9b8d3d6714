/// What rows of `rondo bench train` say about each other.
#include "launcher/bench/training_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Given {
  std::string contender;
  int round = 1, ranks = 2;
  double speed = 100, loss = 1.5;
};

std::string line_of(const Given& given) {
  return json{{"kind", "row"},
              {"model", "cnn"},
              {"contender", given.contender},
              {"round", given.round},
              {"ranks", given.ranks},
              {"steps", 14},
              {"samples_per_second", given.speed},
              {"step_p50_us", 1e6 / given.speed},
              {"loss", given.loss},
              {"gradient_bytes", 1000},
              {"peak_rss_bytes", given.contender == "memory-wrapped" ? 51'500 : 50'000},
              {"pss_bytes", given.contender == "memory-wrapped" ? 40'800 : 40'000}}
             .dump() +
         "\n";
}

std::vector<TrainingRow> rows_of(const std::vector<Given>& all) {
  std::string text;
  for (const Given& given : all) text += line_of(given);
  auto rows = parse_training_rows(text);
  EXPECT_TRUE(rows.ok()) << rows.status().text();
  return rows.ok() ? *rows : std::vector<TrainingRow>{};
}

/// Nine rounds in which Rondo is 1.5, 1.6, ..., 2.3 times as fast as the rival's better setting.
std::vector<Given> nine_rounds() {
  std::vector<Given> all;
  for (int round = 1; round <= 9; ++round) {
    all.push_back({.contender = "rondo", .round = round, .speed = 10.0 * (14 + round)});
    all.push_back({.contender = "rondo-no-overlap", .round = round, .speed = 120});
    all.push_back({.contender = "pytorch-view", .round = round, .speed = 80});
    all.push_back({.contender = "pytorch-static", .round = round, .speed = 100});
  }
  return all;
}

TEST(TrainingRows, RatioIsTakenRoundByRoundAgainstTheRivalsBestSetting) {
  const auto rows = rows_of(nine_rounds());
  EXPECT_EQ(best_of(rows, "cnn", {"pytorch-view", "pytorch-static"}), "pytorch-static");
  const auto ratio = speed_ratio(rows, "cnn", "rondo", "pytorch-static");
  ASSERT_TRUE(ratio);
  EXPECT_DOUBLE_EQ(ratio->median, 1.9);
  EXPECT_DOUBLE_EQ(ratio->least, 1.5);
  EXPECT_DOUBLE_EQ(ratio->greatest, 2.3);
  ASSERT_TRUE(ratio->interval);  // of nine the second from both ends
  EXPECT_DOUBLE_EQ(ratio->interval->low, 1.6);
  EXPECT_DOUBLE_EQ(ratio->interval->high, 2.2);
  EXPECT_THAT(
      training_text(rows, "cnn"),
      HasSubstr("1.900 (rondo / pytorch-static, 9 rounds from 1.500 to 2.300; 95 % interval of the median 1.600 "
                "to 2.200)"));
}

TEST(TrainingRows, OnlyRoundsThatBothHaveCount) {
  const auto rows = rows_of({{.contender = "rondo", .round = 1, .speed = 300},
                             {.contender = "rondo", .round = 2, .speed = 100},
                             {.contender = "pytorch-view", .round = 2, .speed = 50}});
  EXPECT_DOUBLE_EQ(speed_ratio(rows, "cnn", "rondo", "pytorch-view")->median, 2);
  EXPECT_FALSE(speed_ratio(rows, "cnn", "rondo", "loop"));
  EXPECT_FALSE(speed_ratio(rows, "mlp", "rondo", "pytorch-view"));
}

TEST(TrainingRows, ContenderWhoseLossDiffersIsRefusedAndHasNoRatio) {
  auto given = nine_rounds();
  given.back().loss = 1.51;  // of pytorch-static, in the last round
  const auto rows = rows_of(given);
  EXPECT_THAT(loss_differences(rows, "cnn"), ElementsAre(HasSubstr("pytorch-static on cnn is refused")));
  EXPECT_THAT(training_text(rows, "cnn"), Not(HasSubstr("rondo / pytorch-static")));
  EXPECT_THAT(training_text(rows, "cnn"), HasSubstr("is refused"));
  EXPECT_THAT(training_json(rows, "cnn"), Not(HasSubstr(R"("to":"pytorch-static")")));
  EXPECT_THAT(training_json(rows, "cnn"), HasSubstr(R"("kind":"refused")"));
}

TEST(TrainingRows, LossesOfDifferentJobsAreNotHeldAgainstEachOther) {
  const auto rows = rows_of({{.contender = "rondo", .ranks = 2, .loss = 1.5},
                             {.contender = "loop", .ranks = 1, .loss = 3},
                             {.contender = "wrapped", .ranks = 1, .loss = 3},
                             {.contender = "memory-plain", .ranks = 2, .loss = 2}});
  EXPECT_THAT(loss_differences(rows, "cnn"), IsEmpty());
}

TEST(TrainingRows, LossThatIsNoNumberIsRefused) {
  std::string text = line_of({.contender = "rondo"});
  text += line_of({.contender = "pytorch-view"});
  text.replace(text.rfind("1.5"), 3, "null");
  const auto rows = parse_training_rows(text);
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(loss_differences(*rows, "cnn").size(), 1U);
}

TEST(TrainingRows, MemoryOfTheWrapperIsCountedInGradientSizes) {
  const auto rows = rows_of({{.contender = "memory-plain"}, {.contender = "memory-wrapped"}});
  EXPECT_THAT(training_text(rows, "cnn"), HasSubstr("the wrapper adds 1.50 gradient sizes"));
  EXPECT_THAT(training_text(rows, "cnn"), HasSubstr("0.80 with shared pages divided"));
}

TEST(TrainingRows, WhatIsNoRowIsNamed) {
  EXPECT_EQ(parse_training_rows("").status().code(), comm::Code::kCorrupt);
  const auto broken = parse_training_rows(line_of({.contender = "rondo"}) + "{\"model\":\"cnn\"}\n");
  EXPECT_EQ(broken.status().code(), comm::Code::kCorrupt);
  EXPECT_THAT(broken.status().message(), HasSubstr("{\"model\":\"cnn\"}"));
}

}  // namespace
}  // namespace rondo::launcher
