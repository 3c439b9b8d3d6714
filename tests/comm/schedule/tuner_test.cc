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

TEST(Tuner, OverHostsOfEqualBlocksSumsAreHierarchicalInOneOrderForEverySize) {
  const auto tuner = Tuner::parse("");
  ASSERT_TRUE(tuner.ok());
  const auto choice = [&](size_t bytes, HostLayout hosts, int ranks = 4, Wire wire = Wire::kSame) {
    return std::string(tuner->choose({.world_size = ranks, .byte_count = bytes, .wire = wire, .hosts = hosts}));
  };
  EXPECT_EQ(choice(1 << 20, HostLayout::kCanonicalBlocks), "hierarchical");
  EXPECT_EQ(choice(64, HostLayout::kCanonicalBlocks), "one-shot") << "canonical as well, in one hop";
  EXPECT_EQ(choice(64, HostLayout::kBlocks, 6), "hierarchical") << "another order would depend on the size";
  EXPECT_EQ(choice(1 << 20, HostLayout::kCanonicalBlocks, 64), "hierarchical");
  EXPECT_EQ(choice(1 << 20, HostLayout::kScattered), "direct");
  EXPECT_EQ(choice(1 << 20, HostLayout::kFlat), "direct");
  EXPECT_EQ(choice(1 << 20, HostLayout::kCanonicalBlocks, 4, Wire::kNarrow), "direct") << "partial sums would travel";
  EXPECT_NE(tuner->explain(4, HostLayout::kCanonicalBlocks).find("hierarchical"), std::string::npos);
}

TEST(Tuner, ALayoutIsWhatItsHostsHold) {
  EXPECT_EQ(layout_of({}, 4), HostLayout::kFlat);
  EXPECT_EQ(layout_of({0, 1, 2}, 3), HostLayout::kFlat);
  EXPECT_EQ(layout_of({3, 3, 0, 0}, 4), HostLayout::kCanonicalBlocks);
  EXPECT_EQ(layout_of({0, 0, 0, 1, 1, 1}, 6), HostLayout::kBlocks);
  EXPECT_EQ(layout_of({0, 1, 0, 1}, 4), HostLayout::kScattered);
  EXPECT_EQ(layout_of({0, 0, 1}, 3), HostLayout::kScattered);
  EXPECT_EQ(layout_of({0, 1, 1, 0}, 4), HostLayout::kScattered);
}

TEST(Tuner, ExplainsEveryChoiceWithItsReason) {
  const std::string text = Tuner::parse("ring:1M-")->explain(4);
  EXPECT_NE(text.find("all_reduce from 1024 KiB: ring (asked for by a rule)"), std::string::npos) << text;
  EXPECT_NE(text.find("broadcast from 1 KiB: "), std::string::npos) << text;
}

}  // namespace
}  // namespace rondo::comm
