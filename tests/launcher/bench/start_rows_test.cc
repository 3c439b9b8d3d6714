/// What rows of `rondo bench start` say about each other.
#include "launcher/bench/start_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

namespace rondo::launcher {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

StartRow row(StartCase what, const std::string& contender, int round, double ms) {
  return {.what = what, .contender = contender, .round = round, .ranks = 2, .ms = ms, .loss = {}};
}

/// Nine rounds of restarts in which torchrun takes `least`, `least` + 1, ... times Rondo's 10 ms.
std::vector<StartRow> nine_rounds(double least) {
  std::vector<StartRow> rows;
  for (int round = 1; round <= 9; ++round) {
    rows.push_back(row(StartCase::kRestart, "torchrun", round, 10 * (least + round - 1)));
    rows.push_back(row(StartCase::kRestart, "rondo", round, 10));
    rows.push_back(row(StartCase::kRestart, "torchrun-eager", round, 20));
  }
  return rows;
}

std::vector<json> of_kind(const std::string& text, const std::string& kind) {
  std::vector<json> found;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    json object = json::parse(line);
    if (object["kind"] == kind) found.push_back(std::move(object));
  }
  return found;
}

TEST(StartRows, RatioIsTakenRoundByRoundWithAnInterval) {
  const auto ratios = start_ratios(nine_rounds(3), StartCase::kRestart);
  ASSERT_EQ(ratios.size(), 2U);
  EXPECT_EQ(ratios[0].rival, "torchrun");
  EXPECT_DOUBLE_EQ(ratios[0].median, 7);
  EXPECT_DOUBLE_EQ(ratios[0].least, 3);
  EXPECT_DOUBLE_EQ(ratios[0].greatest, 11);
  ASSERT_TRUE(ratios[0].interval.has_value());
  EXPECT_DOUBLE_EQ(ratios[0].interval->low, 4) << "of nine: second and eighth";
  EXPECT_DOUBLE_EQ(ratios[0].interval->high, 10);
  EXPECT_EQ(ratios[0].rounds, 9);
  EXPECT_DOUBLE_EQ(ratios[1].median, 2);
}

TEST(StartRows, ARoundThatTheRivalFailedIsNotCompared) {
  std::vector<StartRow> rows = nine_rounds(3);
  std::erase_if(rows, [](const StartRow& row) { return row.contender == "torchrun" && row.round > 5; });
  const auto ratios = start_ratios(rows, StartCase::kRestart);
  EXPECT_EQ(ratios[0].rounds, 5);
  EXPECT_FALSE(ratios[0].interval.has_value()) << "too few rounds for one";
  EXPECT_DOUBLE_EQ(ratios[0].median, 5);
}

TEST(StartRows, TheBarIsHeldAgainstTorchrunAsItComesByTheLowerEndOfTheInterval) {
  const std::string bad = start_text(nine_rounds(3), StartCase::kRestart);
  EXPECT_THAT(bad, HasSubstr("torchrun takes 7.0 x as long as Rondo (9 rounds from 3.0 to 11.0; 95 % interval of the "
                             "median 4.0 to 10.0)"));
  EXPECT_THAT(bad, HasSubstr("bar: torchrun takes at least 5 x as long as Rondo: NOT met")) << "7 may be chance";
  EXPECT_THAT(start_text(nine_rounds(4), StartCase::kRestart), HasSubstr("Rondo: met"));
  EXPECT_EQ(of_kind(start_json(nine_rounds(3), StartCase::kRestart), "bar")[0]["met"], false);
  EXPECT_EQ(of_kind(start_json(nine_rounds(4), StartCase::kRestart), "bar")[0]["met"], true);
  const std::vector<StartRow> alone{row(StartCase::kRestart, "rondo", 1, 10)};
  EXPECT_THAT(start_text(alone, StartCase::kRestart), HasSubstr("not measured"));
  EXPECT_TRUE(of_kind(start_json(alone, StartCase::kRestart), "bar")[0]["met"].is_null());
}

TEST(StartRows, EmptyProgramsAreHeldToAHundredMilliseconds) {
  const auto said = [](double median_ms) {
    const std::vector<StartRow> rows{row(StartCase::kEmpty, "rondo", 1, 10),
                                     row(StartCase::kEmpty, "rondo", 2, median_ms),
                                     row(StartCase::kEmpty, "rondo", 3, 500)};
    return start_text(rows, StartCase::kEmpty);
  };
  EXPECT_THAT(said(99), HasSubstr("Rondo's median below 100 ms: met"));
  EXPECT_THAT(said(101), HasSubstr("Rondo's median below 100 ms: NOT met"));
}

TEST(StartRows, SummaryHasMedianTailAndMaximum) {
  std::vector<StartRow> rows;
  for (int round = 1; round <= 200; ++round) rows.push_back(row(StartCase::kEmpty, "rondo", round, round));
  const auto summaries = of_kind(start_json(rows, StartCase::kEmpty), "summary");
  ASSERT_EQ(summaries.size(), 1U);
  EXPECT_EQ(summaries[0]["p50_ms"], 100.5);
  EXPECT_EQ(summaries[0]["p99_ms"], 198);
  EXPECT_EQ(summaries[0]["max_ms"], 200);
  EXPECT_EQ(summaries[0]["n"], 200);
}

TEST(StartRows, FirstStepsWithAnotherLossAreNotCompared) {
  std::vector<StartRow> rows{row(StartCase::kFirstStep, "rondo", 1, 100),
                             row(StartCase::kFirstStep, "torchrun", 1, 900)};
  rows[0].loss = 2.3000;
  rows[1].loss = 2.3005;
  EXPECT_THAT(first_step_differences(rows), IsEmpty());
  EXPECT_THAT(start_text(rows, StartCase::kFirstStep), HasSubstr("torchrun takes 9.0 x"));
  for (const double wrong : {2.302, static_cast<double>(NAN)}) {
    rows[1].loss = wrong;
    EXPECT_THAT(first_step_differences(rows), ElementsAre(HasSubstr("torchrun is refused")));
    const std::string text = start_text(rows, StartCase::kFirstStep);
    EXPECT_THAT(text, Not(HasSubstr("9.0 x")));
    EXPECT_THAT(text, HasSubstr("not measured"));
    EXPECT_THAT(of_kind(start_json(rows, StartCase::kFirstStep), "ratio"), IsEmpty());
  }
}

TEST(StartRows, CasesAreNamedAndAWrongOneIsCorrected) {
  const auto cases = parse_start_cases("restart,empty,restart");
  ASSERT_TRUE(cases.ok());
  EXPECT_THAT(*cases, ElementsAre(StartCase::kRestart, StartCase::kEmpty));
  EXPECT_THAT(parse_start_cases("restrt").status().message(), HasSubstr("did you mean 'restart'?"));
  EXPECT_FALSE(parse_start_cases("").ok());
}

}  // namespace
}  // namespace rondo::launcher
