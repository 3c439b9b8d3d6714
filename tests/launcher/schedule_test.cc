/// `rondo schedule` as a user types it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using testing::HasSubstr;

Outcome schedule(std::vector<std::string> arguments) {
  const TemporaryFolder folder;
  arguments.insert(arguments.begin(), "schedule");
  return run_rondo(arguments, {.folder = folder.path()});
}

TEST(Schedule, ShowsAnAlgorithm) {
  const Outcome run = schedule({"ring", "--world", "4", "--elements", "10"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("ring all_reduce of 10 elements over 4 ranks, order: by chunk\n"));
  EXPECT_THAT(run.output, HasSubstr("\nhop 6 of 6\n"));
  EXPECT_THAT(run.output, HasSubstr("all ranks: 24 messages, 240 bytes in float32, 6 hops\n"));
  EXPECT_EQ(run.errors, "");
}

TEST(Schedule, WithoutANameListsTheAlgorithms) {
  const Outcome run = schedule({});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  for (const char* name :
       {"ring", "direct", "push", "one-shot", "chain", "halving", "hierarchical", "parameter-server", "tree"}) {
    EXPECT_THAT(run.output, HasSubstr("\n  " + std::string(name) + " "));
  }
  EXPECT_EQ(nlohmann::json::parse(schedule({"--json"}).output).size(), 9U);
}

TEST(Schedule, ProvesWhatItShows) {
  const Outcome run = schedule(
      {"hierarchical", "--world", "5", "--hosts", "0,0,1,1,1", "--elements", "23", "--segment", "2", "--check"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("order: by host\n"));
  EXPECT_THAT(run.output, HasSubstr("proven for 5 ranks and this size\n"));
  EXPECT_THAT(run.output, HasSubstr("in the order \"by host\", is final exactly once, and is equal on all ranks\n"));
  EXPECT_THAT(schedule({"tree", "--root", "2", "--check"}).output,
              HasSubstr("every element arrives from its owner, at its place, on all ranks\n"));
  EXPECT_THAT(schedule({"direct", "--wire", "narrow", "--op", "reduce_scatter", "--check"}).output,
              HasSubstr("every result passes through the wire type, once\n"));
}

TEST(Schedule, AnswersInJsonWithTheProof) {
  const Outcome run = schedule({"direct", "--op=broadcast", "--world=3", "--root=1", "--json", "--check"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const auto json = nlohmann::json::parse(run.output);
  EXPECT_EQ(json["op"], "broadcast");
  EXPECT_EQ(json["element_count"], 12);
  EXPECT_EQ(json["ranks"][1]["sends_to"], (std::vector<int>{0, 2}));
  EXPECT_EQ(json["proof"]["messages"], 2);
}

TEST(Schedule, OfWrongArgumentsSaysWhatIsRight) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes{
      {{"rign"}, "unknown algorithm 'rign' (did you mean 'ring'?); `rondo schedule` lists them"},
      {{"one_shot"}, "unknown algorithm 'one_shot' (did you mean 'one-shot'?)"},
      {{"quantum"}, "unknown algorithm 'quantum'; `rondo schedule` lists them"},
      {{"ring", "--op", "allreduce"},
       "unknown operation 'allreduce' (did you mean 'all_reduce'?); there are all_reduce, reduce_scatter, all_gather, "
       "broadcast"},
      {{"ring", "--op", "broadcast"}, "algorithm \"ring\" does not serve broadcast: direct, chain and tree would"},
      {{"ring", "--wire", "narow"}, "unknown wire 'narow' (did you mean 'narrow'?); there are same, narrow"},
      {{"ring", "--wire", "narrow"}, "algorithm \"ring\" has no narrow wire"},
      {{"ring", "--world", "0"}, "--world 0: from 1 to 1024 ranks"},
      {{"ring", "--world", "1025"}, "--world 1025: from 1 to 1024 ranks"},
      {{"ring", "--segment", "0"}, "segments of 0 elements"},
      {{"ring", "--elements", "-5"}, "-5 elements: there may be 0 to 2^40"},
      {{"ring", "--elements", "1099511627777"}, "there may be 0 to 2^40"},
      {{"tree", "--root", "4"}, "root 4 is none of 4 ranks"},
      {{"hierarchical", "--hosts", "0,0,1"}, "hosts of 3 ranks are given, but there are 4"},
      {{"hierarchical", "--hosts", "0,a,1,1"}, "--hosts 0,a,1,1: a number for each rank, as in 0,0,1,1"},
      {{"hierarchical", "--hosts", "0,,1,1"}, "--hosts 0,,1,1: a number for each rank"},
      {{"ring", "--elemnts", "3"}, "unknown flag '--elemnts' (did you mean '--elements'?)"},
      {{"ring", "--world", "four"}, "--world"},
      {{"ring", "direct"}, "unexpected argument 'direct'"},
  };
  for (const auto& [arguments, sentence] : mistakes) {
    const Outcome run = schedule(arguments);
    EXPECT_EQ(run.exit_code, 2) << sentence;
    EXPECT_THAT(run.errors, HasSubstr(sentence));
    EXPECT_EQ(run.output, "");
  }
}

TEST(Schedule, HelpHasExamples) {
  const Outcome run = schedule({"--help"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.output, HasSubstr("usage: rondo schedule [ALGORITHM] [flags]"));
  EXPECT_THAT(run.output, HasSubstr("examples:\n  rondo schedule ring --world 4 --elements 10\n"));
}

}  // namespace
}  // namespace rondo::test
