#include "comm/schedule/tuner.h"

#include <gtest/gtest.h>

#include <string>

namespace rondo::comm {
namespace {

CallShape all_reduce_of(size_t bytes, int world_size = 4) {
  return {.goal = Goal::kAllReduce, .world_size = world_size, .byte_count = bytes};
}

TEST(Tuner, WithoutRulesNothingIsRuled) {
  const auto tuner = Tuner::parse("");
  ASSERT_TRUE(tuner.ok());
  EXPECT_EQ(tuner->ruled(all_reduce_of(1000)), "");
  EXPECT_FALSE(tuner->choose(all_reduce_of(1000)).empty());
}

TEST(Tuner, ANameAloneRulesEverySizeOfWhatItServes) {
  const auto tuner = Tuner::parse("ring");
  ASSERT_TRUE(tuner.ok());
  for (const size_t bytes : {size_t{0}, size_t{1} << 40}) EXPECT_EQ(tuner->ruled(all_reduce_of(bytes)), "ring");
  EXPECT_EQ(tuner->ruled({.goal = Goal::kBroadcast, .world_size = 4, .byte_count = 8}), "");
}

TEST(Tuner, RangesCountBytesTheUpperEndExcludedAndTheFirstRuleWins) {
  const auto tuner = Tuner::parse("push:-4K,ring:1MiB-2M,push:1M-");
  ASSERT_TRUE(tuner.ok()) << tuner.status().text();
  EXPECT_EQ(tuner->ruled(all_reduce_of(0)), "push");
  EXPECT_EQ(tuner->ruled(all_reduce_of(4095)), "push");
  EXPECT_EQ(tuner->ruled(all_reduce_of(4096)), "");
  EXPECT_EQ(tuner->ruled(all_reduce_of((1 << 20) - 1)), "");
  EXPECT_EQ(tuner->ruled(all_reduce_of(1 << 20)), "ring");
  EXPECT_EQ(tuner->ruled(all_reduce_of(2 << 20)), "push");
}

TEST(Tuner, RefusesWhatItCannotReadAndNamesTheRule) {
  for (const std::string rules :
       {"rign", "ring:", "ring:5", "ring:2M-1M", "ring:1X-", "ring:-0", "ring,,push", "ring:a-b"}) {
    const auto tuner = Tuner::parse(rules);
    ASSERT_FALSE(tuner.ok()) << rules;
    EXPECT_EQ(tuner.status().code(), Code::kInvalidArgument);
    EXPECT_NE(tuner.status().text().find("algorithm rule \""), std::string::npos) << tuner.status().text();
  }
  EXPECT_NE(Tuner::parse("rign").status().text().find("there are ring"), std::string::npos);
}

TEST(Tuner, ExplainsEveryChoiceWithItsReason) {
  const std::string text = Tuner::parse("ring:1M-")->explain(4);
  EXPECT_NE(text.find("all_reduce from 1024 KiB: ring (asked for by a rule)"), std::string::npos) << text;
  EXPECT_NE(text.find("broadcast from 1 KiB: "), std::string::npos) << text;
}

}  // namespace
}  // namespace rondo::comm
