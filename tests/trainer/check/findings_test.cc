// What the reports of all ranks say together, and how it is written.
#include "rondo/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "trainer/check/rank_report.h"

namespace rondo::trainer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

Finding about(const std::string& name, Severity severity = Severity::kWarning, const std::string& topic = "topic") {
  return {.severity = severity, .topic = topic, .names = {name}, .what = "what", .cause = "cause", .cure = "cure"};
}

RankReport with(Fact::Kind kind, const std::string& value) {
  return {.findings = {}, .facts = {{.kind = kind, .name = "it", .value = value}}};
}

TEST(Findings, OneThingOnSeveralRanksAndNamesIsOneFinding) {
  const Findings found = merge({{.findings = {about("a"), about("b"), about("c")}, .facts = {}},
                                {.findings = {about("a"), about("c")}, .facts = {}}});
  ASSERT_THAT(found.list, SizeIs(2));
  EXPECT_THAT(found.list[0].names, ElementsAre("a", "c"));
  EXPECT_THAT(found.list[0].ranks, ElementsAre(0, 1));
  EXPECT_THAT(found.list[1].names, ElementsAre("b"));
  EXPECT_THAT(found.list[1].ranks, ElementsAre(0));
}

TEST(Findings, ErrorsComeFirst) {
  const Findings found =
      merge({{.findings = {about("n", Severity::kNote), about("e", Severity::kError), about("w")}, .facts = {}}});
  std::vector<Severity> order;
  for (const Finding& finding : found.list) order.push_back(finding.severity);
  EXPECT_THAT(order, ElementsAre(Severity::kError, Severity::kWarning, Severity::kNote));
  EXPECT_TRUE(found.any_errors());
  EXPECT_EQ(found.count(Severity::kWarning), 1);
}

TEST(Findings, ANeverReachedParameterWeighsLessAndAChangeMoreWhereOnlySomeRanksHaveIt) {
  const auto severity = [](const std::string& topic, Severity given, bool everywhere) {
    const RankReport has{.findings = {about("p", given, topic)}, .facts = {}};
    return merge({has, everywhere ? has : RankReport{}}).list.front().severity;
  };
  EXPECT_EQ(severity("never-reached", Severity::kWarning, true), Severity::kWarning);
  EXPECT_EQ(severity("never-reached", Severity::kWarning, false), Severity::kNote);
  EXPECT_EQ(severity("never-reached", Severity::kError, false), Severity::kError) << "strict mode";
  EXPECT_EQ(severity("changed-after-wrap", Severity::kWarning, true), Severity::kWarning);
  EXPECT_EQ(severity("changed-after-wrap", Severity::kWarning, false), Severity::kError);
}

TEST(Findings, WhatMustBeEqualIsComparedWithRankZero) {
  for (const auto kind : {Fact::Kind::kState, Fact::Kind::kSetting}) {
    EXPECT_THAT(merge({with(kind, "1"), with(kind, "1")}).list, SizeIs(0));
    const Findings found = merge({with(kind, "1"), with(kind, "2"), with(kind, "1"), {}});
    ASSERT_THAT(found.list, SizeIs(1));
    EXPECT_EQ(found.list[0].severity, Severity::kError);
    EXPECT_THAT(found.list[0].names, ElementsAre("it"));
    EXPECT_THAT(found.list[0].ranks, ElementsAre(1, 3)) << "one that has none differs, too";
  }
  EXPECT_THAT(merge({with(Fact::Kind::kSetting, "1"), with(Fact::Kind::kSetting, "2"), {}}).list[0].what,
              "rank 0 has 1, rank 1 has 2, rank 2 has none");
}

TEST(Findings, OrdersAndCountsThatDifferAreNotes) {
  for (const auto kind : {Fact::Kind::kArrivalOrder, Fact::Kind::kSampleCount}) {
    const Findings found = merge({with(kind, "1"), with(kind, "2")});
    ASSERT_THAT(found.list, SizeIs(1));
    EXPECT_EQ(found.list[0].severity, Severity::kNote);
    EXPECT_THAT(found.list[0].ranks, ElementsAre(1));
  }
}

TEST(Findings, RandomNumbersAreANoteWhereTheyAreEqual) {
  const auto same = [](const std::vector<std::string>& states) {
    std::vector<RankReport> ranks;
    for (const std::string& state : states) ranks.push_back(with(Fact::Kind::kGenerator, state));
    return !merge(ranks).list.empty();
  };
  EXPECT_TRUE(same({"1", "1", "1"}));
  EXPECT_FALSE(same({"1", "2"}));
  EXPECT_FALSE(same({"1"})) << "a job of one";
}

TEST(Findings, TextNamesPlaceCauseAndCure) {
  EXPECT_EQ(Findings{.world_size = 2}.text(), "check: nothing found on 2 ranks\n");
  const Findings found = merge({{.findings = {about("a", Severity::kError), about("b")}, .facts = {}},
                                {.findings = {about("b")}, .facts = {}},
                                {.findings = {about("a", Severity::kError), about("b")}, .facts = {}}});
  EXPECT_EQ(found.text(),
            "check: 1 error, 1 warning on 3 ranks\n"
            "error topic on ranks 0 and 2: a\n  what\n  cause: cause\n  cure: cure\n"
            "warning topic on all 3 ranks: b\n  what\n  cause: cause\n  cure: cure\n");
}

TEST(Findings, TextShortensALongListAndJsonDoesNot) {
  RankReport report;
  for (int i = 0; i < 30; ++i) report.findings.push_back(about("p" + std::to_string(i)));
  const Findings found = merge({report});
  EXPECT_THAT(found.text(), HasSubstr("p11, and 18 more\n"));
  const auto json = nlohmann::json::parse(found.json());
  EXPECT_EQ(json["world_size"], 1);
  EXPECT_EQ(json["findings"][0]["names"].size(), 30U);
  EXPECT_EQ(json["findings"][0]["severity"], "warning");
  EXPECT_EQ(json["findings"][0]["ranks"], std::vector<int>{0});
}

TEST(Findings, AReportArrivesAsItWasSent) {
  const RankReport report{.findings = {about("\"quoted\"\nand \xff broken"), about("b", Severity::kError)},
                          .facts = {{.kind = Fact::Kind::kGenerator, .name = "a name", .value = "v"},
                                    {.kind = Fact::Kind::kState, .name = "", .value = ""}}};
  const RankReport back = decode_rank_report(encode(report));
  EXPECT_EQ(back.findings[1], report.findings[1]);
  EXPECT_THAT(back.findings[0].names[0], HasSubstr("\"quoted\"\nand ")) << "bytes that are no text are replaced";
  EXPECT_EQ(back.facts, report.facts);
  const Findings found = merge({report, RankReport{}});
  EXPECT_EQ(decode_findings(encode(found)).list[0], found.list[0]);
}

}  // namespace
}  // namespace rondo::trainer
