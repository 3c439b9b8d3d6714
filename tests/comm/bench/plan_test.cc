#include "comm/bench/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::bench {
namespace {

using testing::HasSubstr;

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB;

TEST(Plan, ReadsSizesWithUnitsAndWritesThemBack) {
  EXPECT_EQ(*parse_size("1KiB"), kKiB);
  EXPECT_EQ(*parse_size("64MiB"), 64 * kMiB);
  EXPECT_EQ(*parse_size("64GiB"), 64 * 1024 * kMiB);
  EXPECT_EQ(*parse_size("4096"), 4096);
  EXPECT_EQ(*parse_size("4096B"), 4096);
  for (const char* wrong : {"", "0", "-1", "KiB", "1KB", "1kib", "1 KiB", "1.5MiB", "65GiB", "99999999999999999999"}) {
    EXPECT_FALSE(parse_size(wrong).ok()) << wrong;
  }
  EXPECT_EQ(size_text(64 * kKiB), "64 KiB");
  EXPECT_EQ(size_text(1536), "1536 B");
  EXPECT_EQ(size_text(0), "0 B");
}

TEST(Plan, CallsTheSmallOftenAndTheLargeAtLeastFiveTimes) {
  EXPECT_EQ(iterations_for(kKiB, Tempo::kFull, Cores::kOwn), 2000);
  EXPECT_EQ(iterations_for(kMiB, Tempo::kFull, Cores::kOwn), 256);
  EXPECT_EQ(iterations_for(64 * kMiB, Tempo::kFull, Cores::kOwn), 5);
  EXPECT_EQ(iterations_for(1024 * kMiB, Tempo::kFull, Cores::kOwn), 5);
  EXPECT_EQ(iterations_for(kKiB, Tempo::kFull, Cores::kShared), 100);
  EXPECT_EQ(iterations_for(0, Tempo::kQuick, Cores::kOwn), 50);
  EXPECT_EQ(iterations_for(64 * kMiB, Tempo::kQuick, Cores::kOwn), 3);
}

TEST(Plan, TakesTheSizesAsked) {
  const auto plan = make_plan({.operation = "all_reduce", .sizes = "1KiB,64KiB,12"}, {.world_size = 2});
  ASSERT_TRUE(plan.ok()) << plan.status().text();
  ASSERT_EQ(plan->points.size(), 3U);
  EXPECT_EQ(plan->points[0].element_count, 256);
  EXPECT_EQ(plan->points[1].byte_count, 64 * kKiB);
  EXPECT_EQ(plan->points[2].element_count, 3);
  EXPECT_EQ(plan->rounds, 9);
  EXPECT_EQ(plan->most_bytes(), 64 * kKiB);
  EXPECT_EQ(plan->most_iterations(), 2000);
}

TEST(Plan, OfAnAllGatherHoldsEqualBlocks) {
  const auto plan = make_plan({.operation = "all_gather", .sizes = "1KiB", .dtype = "uint8"}, {.world_size = 3});
  ASSERT_TRUE(plan.ok()) << plan.status().text();
  EXPECT_EQ(plan->points[0].element_count, 1023);
  EXPECT_EQ(plan->points[0].byte_count, 1023);
}

TEST(Plan, OfABarrierHasOnePointWithoutBytes) {
  const auto plan = make_plan({.operation = "barrier"}, {.world_size = 2});
  ASSERT_TRUE(plan.ok()) << plan.status().text();
  ASSERT_EQ(plan->points.size(), 1U);
  EXPECT_EQ(plan->points[0].byte_count, 0);
}

TEST(Plan, OfAQuickRunIsSmall) {
  const auto plan = make_plan({.operation = "all_reduce", .quick = true}, {.world_size = 2});
  ASSERT_TRUE(plan.ok()) << plan.status().text();
  EXPECT_EQ(plan->rounds, 2);
  EXPECT_LE(plan->most_bytes(), kMiB);
  EXPECT_LE(plan->most_iterations(), 50);
}

TEST(Plan, OfAStudyHasTrialsAndNoSizes) {
  for (const char* study : {"mismatch", "create"}) {
    const auto plan = make_plan({.operation = study}, {.world_size = 2});
    ASSERT_TRUE(plan.ok()) << plan.status().text();
    EXPECT_EQ(plan->collective, nullptr);
    EXPECT_EQ(plan->trials, 100);
    EXPECT_EQ(plan->most_iterations(), 100);
    EXPECT_EQ(plan->most_bytes(), 0);
  }
}

TEST(Plan, RefusesWhatCannotBeMeasuredAndNamesTheFlag) {
  struct Mistake {
    Request request;
    int ranks;
    const char* sentence;
  };
  const std::vector<Mistake> mistakes{
      {{.operation = ""}, 2, "which operation?"},
      {{.operation = "all_reduc"}, 2, "unknown operation 'all_reduc'"},
      {{.operation = "all_reduce", .sizes = "1KB"}, 2, "size '1KB'"},
      {{.operation = "all_reduce", .sizes = "2"}, 2, "--sizes 2 B: too small for one float32 a rank"},
      {{.operation = "all_gather", .sizes = "8"}, 3, "too small for one float32 a rank"},
      {{.operation = "barrier", .sizes = "1KiB"}, 2, "a barrier has no size"},
      {{.operation = "create", .sizes = "1KiB"}, 2, "create has no size"},
      {{.operation = "all_reduce", .dtype = "float"}, 2, "--dtype float: there are float32, float64"},
      {{.operation = "all_reduce", .dtype = "uint8"}, 10, "allows for up to 9 ranks"},
      {{.operation = "all_reduce", .rounds = -1}, 2, "--rounds"},
      {{.operation = "all_reduce", .iterations = -1}, 2, "--iterations"},
      {{.operation = "all_reduce", .transport = "inproc"}, 2, "--transport inproc: between processes there are "},
      {{.operation = "all_reduce", .wire = "int8"}, 2, "--wire int8: same, bf16 or fp16"},
      {{.operation = "all_gather", .wire = "bf16"}, 2, "only sums of float32 travel in another type"},
      {{.operation = "all_reduce", .dtype = "float64", .wire = "bf16"}, 2, "only sums of float32"},
      {{.operation = "all_reduce", .wire = "bf16"}, 10, "bfloat16 allows for up to 9 ranks"},
      {{.operation = "mismatch"}, 1, "two ranks at least"},
  };
  for (const Mistake& mistake : mistakes) {
    const auto plan = make_plan(mistake.request, {.world_size = mistake.ranks});
    ASSERT_FALSE(plan.ok()) << mistake.sentence;
    EXPECT_EQ(plan.status().code(), comm::Code::kInvalidArgument);
    EXPECT_THAT(plan.status().message(), HasSubstr(mistake.sentence));
  }
}

TEST(Plan, EveryCollectiveIsListed) {
  const std::string list = operation_list();
  for (const Collective& collective : collectives()) {
    EXPECT_THAT(list, HasSubstr(std::string(collective.name) + "\t"));
    EXPECT_EQ(find_collective(collective.name), &collective);
  }
  EXPECT_THAT(list, HasSubstr("mismatch\t"));
  EXPECT_THAT(list, HasSubstr("create\t"));
}

TEST(Plan, BusBandwidthIsCountedAsNcclTestsDoes) {
  EXPECT_DOUBLE_EQ(find_collective("all_reduce")->bus_factor(4), 1.5);
  EXPECT_DOUBLE_EQ(find_collective("reduce_scatter")->bus_factor(4), 0.75);
  EXPECT_DOUBLE_EQ(find_collective("all_gather")->bus_factor(4), 0.75);
  EXPECT_DOUBLE_EQ(find_collective("broadcast")->bus_factor(4), 1);
}

}  // namespace
}  // namespace rondo::bench
