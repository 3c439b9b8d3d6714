#include "comm/schedule/tuner.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "rondo/comm/algorithms.h"

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

TEST(Tuner, RulesAboutStoresRuleStoresAndNoAlgorithm) {
  const auto tuner = Tuner::parse("non-temporal-stores:1M-2M,plain-stores:64K-");
  ASSERT_TRUE(tuner.ok()) << tuner.status().text();
  Measured measured;
  measured.staging = {{.byte_count = 1024, .plain_us = 10, .non_temporal_us = 2}};
  Tuner learned = *tuner;
  learned.learn(measured, 4);
  for (const Landing landing : {Landing::kStaging, Landing::kRegistered}) {
    EXPECT_EQ(learned.stores(1 << 20, landing), StoreKind::kNonTemporal);
    EXPECT_EQ(learned.stores(2 << 20, landing), StoreKind::kPlain);
  }
  EXPECT_EQ(learned.stores(4096, Landing::kStaging), StoreKind::kNonTemporal) << "no rule: as timed";
  EXPECT_EQ(learned.ruled(all_reduce_of(1 << 20)), "");
  EXPECT_NE(learned.explain_stores().find("from 1024 KiB: non-temporal (asked for by a rule)"), std::string::npos)
      << learned.explain_stores();
}

TEST(Tuner, StoresIntoStagingGoByTheTimingOfTheirSizeClassAndIntoRegisteredMemoryArePlain) {
  Tuner tuner;
  EXPECT_EQ(tuner.stores(1 << 20, Landing::kStaging), StoreKind::kPlain) << "nothing was timed";
  EXPECT_NE(tuner.explain_stores().find("not timed here"), std::string::npos);
  Measured measured;
  measured.staging = {{.byte_count = 128 * 1024, .plain_us = 20, .non_temporal_us = 19},
                      {.byte_count = 1 << 20, .plain_us = 500, .non_temporal_us = 90}};
  tuner.learn(measured, 2);
  EXPECT_EQ(tuner.stores(4096, Landing::kStaging), StoreKind::kPlain);
  EXPECT_EQ(tuner.stores((1 << 20) - 1, Landing::kStaging), StoreKind::kPlain) << "a twentieth is noise";
  EXPECT_EQ(tuner.stores(1 << 20, Landing::kStaging), StoreKind::kNonTemporal);
  EXPECT_EQ(tuner.stores(size_t{1} << 30, Landing::kStaging), StoreKind::kNonTemporal);
  EXPECT_EQ(tuner.stores(size_t{1} << 30, Landing::kRegistered), StoreKind::kPlain);
  EXPECT_NE(tuner.explain_stores().find("timed at 1024 KiB: 500.0 us plain, 90.0 us non-temporal"), std::string::npos)
      << tuner.explain_stores();
}

// Whatever was measured: links from 1 us and 1 GB/s to the absurd.
std::vector<LinkCost> link_costs() {
  std::vector<LinkCost> costs;
  for (const double alpha : {0.0, 0.1, 10.0, 1e6})
    for (const double beta : {0.0, 0.3, 1e3})
      for (const double gamma : {0.0, 0.1, 1e3})
        costs.push_back({.alpha_us = alpha, .beta_ns = beta, .gamma_ns = gamma});
  return costs;
}

TEST(Tuner, NothingThatIsMeasuredMovesTheOrderOfSums) {
  for (int ranks = 2; ranks <= 20; ++ranks) {
    const auto order = [&](std::string_view algorithm) {
      return *order_of({.algorithm = algorithm, .shape = {.at = {.rank = 0, .world_size = ranks}}});
    };
    for (const LinkCost& cost : link_costs()) {
      Tuner tuner;
      const Tuner blank;
      Measured measured;
      measured.messages = cost;
      tuner.learn(measured, ranks);
      for (size_t bytes = 0; bytes <= size_t{1} << 31; bytes = bytes * 32 + 1) {
        for (const Wire wire : {Wire::kSame, Wire::kNarrow}) {
          CallShape call = all_reduce_of(bytes, ranks);
          call.wire = wire;
          const std::string_view chosen = tuner.choose(call);
          ASSERT_EQ(order(chosen), order(blank.choose(call))) << chosen << " on " << ranks << " ranks";
          if (wire == Wire::kNarrow && ranks <= 16) {
            ASSERT_EQ(find_algorithm(chosen)->narrowest, Wire::kNarrow) << chosen;
          }
        }
      }
    }
  }
}

TEST(Tuner, TakesTheAlgorithmOfLeastPredictedTimeAndARuleBeforeThat) {
  const auto ruled = Tuner::parse("ring:1M-");
  ASSERT_TRUE(ruled.ok());
  Tuner tuner = *ruled;
  Measured measured;
  measured.messages = LinkCost{.alpha_us = 10, .beta_ns = 1, .gamma_ns = 0.1};
  tuner.learn(measured, 8);
  // One-shot: 70 us and 7.7 ns a byte; halving: 60 us and 1.84; direct: 140 us and 1.84.
  EXPECT_EQ(tuner.choose(all_reduce_of(8, 8)), "halving");
  EXPECT_EQ(tuner.choose(all_reduce_of(64 * 1024, 8)), "halving");
  CallShape half = all_reduce_of(8, 8);
  half.dtype = DType::kBFloat16;
  EXPECT_EQ(tuner.choose(half), "one-shot") << "partial sums of 16 bits would travel in 32";
  half.byte_count = 64 * 1024;
  EXPECT_EQ(tuner.choose(half), "direct");
  EXPECT_EQ(tuner.choose(all_reduce_of(1 << 20, 8)), "ring") << "a rule";
  EXPECT_NE(tuner.explain(8).find("alpha 10.00 us, beta 1.0000 ns a byte"), std::string::npos) << tuner.explain(8);
}

TEST(Tuner, ExplainsEveryChoiceWithItsReason) {
  const std::string text = Tuner::parse("ring:1M-")->explain(4);
  EXPECT_NE(text.find("all_reduce from 1024 KiB: ring (asked for by a rule)"), std::string::npos) << text;
  EXPECT_NE(text.find("broadcast from 1 KiB: "), std::string::npos) << text;
}

}  // namespace
}  // namespace rondo::comm
