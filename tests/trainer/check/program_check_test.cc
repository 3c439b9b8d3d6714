// `rondo doctor --program`: programs of users, unchanged, each with one mistake.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/trainer/init/process_runs.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Ended look_at(const std::string& mistake, const std::string& flags = "") {
  return run_in_empty_folder(RONDO_PROGRAM " doctor --program " + flags + " -- " RONDO_CHECKED_PROGRAM " " + mistake +
                             " && ls || (code=$?; ls; exit $code)");
}

TEST(ProgramCheck, OfACleanProgramFindsNothingAndEndsItAfterTwoSteps) {
  const Ended clean = look_at("clean");
  EXPECT_EQ(clean.exit_code, 0) << clean.output;
  EXPECT_THAT(clean.output,
              AllOf(HasSubstr("looked at the first step and after 2"), Not(HasSubstr("error")),
                    Not(HasSubstr("warning")), Not(HasSubstr("came-to-its-end")), Not(HasSubstr("runs"))));
}

TEST(ProgramCheck, NamesEachMistakeWithItsCure) {
  const struct {
    const char *mistake, *topic, *name, *cure;
  } mistakes[] = {
      {"early-optimizer", "error stale-optimizer", "second.weight", "build the optimizer last"},
      {"stray", "error stray-parameter", "float32 [7]", "register it before the module is wrapped"},
      {"untied-state", "error state-differs", "first.weight", "cure: "},
  };
  for (const auto& [mistake, topic, name, cure] : mistakes) {
    const Ended found = look_at(mistake);
    EXPECT_EQ(found.exit_code, 3) << mistake << "\n" << found.output;
    EXPECT_THAT(found.output, AllOf(HasSubstr(topic), HasSubstr(name), HasSubstr(cure)));
  }
}

TEST(ProgramCheck, OfLayersThatTheLossNeverReachesIsAWarning) {
  const Ended found = look_at("unused");
  EXPECT_EQ(found.exit_code, 0) << found.output;
  EXPECT_THAT(found.output, AllOf(HasSubstr("warning never-reached on all 2 ranks"), HasSubstr("spare.weight")));
}

TEST(ProgramCheck, OfTwoModelsWaitsUntilBothHaveStepped) {
  const Ended found = look_at("two-models", "-n 3");
  EXPECT_EQ(found.exit_code, 0) << found.output;
  EXPECT_THAT(found.output, AllOf(HasSubstr("model 1"), HasSubstr("model 2"), HasSubstr("on 3 ranks"),
                                  Not(HasSubstr("error")), Not(HasSubstr("came-to-its-end"))));
}

TEST(ProgramCheck, SaysWhatCouldNotBeLookedAt) {
  const Ended plain = look_at("no-rondo");
  EXPECT_EQ(plain.exit_code, 3) << plain.output;
  EXPECT_THAT(plain.output, HasSubstr("never called rondo::init"));
  const Ended bare = look_at("no-model");
  EXPECT_EQ(bare.exit_code, 3) << bare.output;
  EXPECT_THAT(bare.output, HasSubstr("wrapped no model"));
  const Ended brief = look_at("short");
  EXPECT_EQ(brief.exit_code, 0) << brief.output;
  EXPECT_THAT(brief.output, AllOf(HasSubstr("ended before"), HasSubstr("looked at the first step only"),
                                  HasSubstr("came-to-its-end")));
}

TEST(ProgramCheck, IsAnObjectForPrograms) {
  const Ended found = run_in_empty_folder("sh -c '" RONDO_PROGRAM " doctor --program --json -- " RONDO_CHECKED_PROGRAM
                                          " early-optimizer 2>/dev/null'");
  EXPECT_EQ(found.exit_code, 3);
  const auto json = nlohmann::json::parse(found.output);
  EXPECT_EQ(json["verdict"], "bad");
  EXPECT_EQ(json["ranks"], 2);
  EXPECT_EQ(json["models"][0]["check"]["findings"][0]["topic"], "stale-optimizer");
}

}  // namespace
}  // namespace rondo::test
