#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launcher/doctor/diagnose_program.h"

namespace rondo::launcher {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

json model(int looks, bool done, int errors, const std::string& text = "check: nothing found on 2 ranks\n") {
  json findings = json::array();
  for (int i = 0; i < errors; ++i) findings.push_back({{"severity", "error"}});
  return {{"looks", looks}, {"done", done}, {"errors", errors}, {"text", text}, {"check", {{"findings", findings}}}};
}

ProgramVerdict judged(int code, const std::vector<json>& models, bool complete = true) {
  return judge({.program = "./mine",
                .ranks = 2,
                .program_code = code,
                .check_json = json{{"complete", complete}, {"models", models}}.dump()});
}

TEST(ProgramReport, SaysWhatWasFoundAndHowFarTheLookWent) {
  const ProgramVerdict clean = judged(0, {model(2, true, 0)});
  EXPECT_EQ(clean.exit_code, 0);
  EXPECT_THAT(clean.text, AllOf(HasSubstr("./mine on 2 ranks\nlooked at the first step and after 2 more\n"),
                                HasSubstr("check: nothing found"), Not(HasSubstr("model 1"))));
  EXPECT_EQ(json::parse(clean.json)["verdict"], "good");

  const ProgramVerdict ill = judged(0, {model(1, false, 1, "error stray-parameter\n")});
  EXPECT_EQ(ill.exit_code, 3);
  EXPECT_THAT(ill.text, AllOf(HasSubstr("ended there because of its errors"), HasSubstr("error stray-parameter")));
  EXPECT_EQ(json::parse(ill.json)["verdict"], "bad");

  const ProgramVerdict two = judged(0, {model(2, true, 0), model(0, false, 0)});
  EXPECT_EQ(two.exit_code, 0);
  EXPECT_THAT(two.text, AllOf(HasSubstr("model 2, in the order of wrapping\nno step point was reached")));
}

TEST(ProgramReport, OfAProgramThatEndedEarlySaysWhatIsMissing) {
  EXPECT_THAT(judged(0, {model(1, false, 0)}, false).text, HasSubstr("ended before its third step"));
  const std::pair<ProgramVerdict, const char*> nothing[] = {
      {judge({.program = "./mine", .ranks = 2, .program_code = 0, .check_json = ""}), "never called rondo::init"},
      {judged(0, {}, false), "wrapped no model"},
      {judged(0, {model(0, false, 0)}, false), "reached no step point"}};
  for (const auto& [verdict, sentence] : nothing) {
    EXPECT_EQ(verdict.exit_code, 3) << sentence;
    EXPECT_THAT(verdict.text, AllOf(HasSubstr("[bad    ] program: it ended well, but "), HasSubstr(sentence)));
    EXPECT_EQ(json::parse(verdict.json)["verdict"], "bad");
  }
}

TEST(ProgramReport, KeepsTheCodeOfAProgramThatFailed) {
  EXPECT_EQ(judged(37, {}, false).exit_code, 37);
  EXPECT_EQ(judged(37, {model(1, false, 0)}, false).exit_code, 37);
  EXPECT_EQ(judged(37, {model(1, false, 1)}, false).exit_code, 3) << "what was found counts first";
  EXPECT_EQ(judge({.program = "./mine", .ranks = 2, .program_code = 0, .check_json = "{\"models\": [1]}"}).exit_code,
            6);
}

}  // namespace
}  // namespace rondo::launcher
