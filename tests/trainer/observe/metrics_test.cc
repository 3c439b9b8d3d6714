#include "trainer/observe/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

using nlohmann::json;

TEST(Metrics, EveryLineIsAJsonObjectWithItsFields) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "metrics.jsonl";
  {
    MetricsWriter writer(file);
    writer.write(RunMetrics{.recipe = "vision.fmnist-cnn",
                            .world_size = 2,
                            .steps_per_epoch = 469,
                            .parameters = 421642,
                            .samples = 60000,
                            .config = {{"lr", "0.1"}}});
    writer.write(StepMetrics{.step = 1,
                             .epoch = 1,
                             .loss = 2.3,
                             .lr = 0.004,
                             .samples = 128,
                             .samples_per_second = 4000,
                             .statistics = StepStatistics{
                                 .first_launch_us = 10,
                                 .last_ready_us = 20,
                                 .backward_end_us = 21,
                                 .exposed_us = 5,
                                 .buckets = {{.byte_count = 40, .ready_us = 12, .launch_us = 12, .complete_us = 20},
                                             {.byte_count = 80, .ready_us = 10, .launch_us = 13, .complete_us = 25}},
                                 .ranks = {{.first_gradient_us = 1, .last_gradient_us = 21},
                                           {.first_gradient_us = 2, .last_gradient_us = 9}},
                             }});
    writer.write(EpochMetrics{.step = 469,
                              .epoch = 1,
                              .loss = 0.6,
                              .lr = 0.05,
                              .samples = 60000,
                              .samples_per_second = 4100,
                              .order_hash = "00ff",
                              .test_correct = 8700,
                              .test_samples = 10000});
  }
  std::istringstream lines(test::read_file(file));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(json::parse(line)["kind"], "run");
  EXPECT_EQ(json::parse(line)["world_size"], 2);
  EXPECT_EQ(json::parse(line)["config"]["lr"], "0.1");
  ASSERT_TRUE(std::getline(lines, line));
  const json step = json::parse(line);
  for (const char* field : {"kind", "step", "epoch", "loss", "lr", "samples", "samples_per_second", "first_launch_us",
                            "last_ready_us", "backward_end_us", "exposed_us"}) {
    EXPECT_TRUE(step.contains(field)) << field;
  }
  EXPECT_EQ(step["first_launch_us"], 10);
  EXPECT_EQ(step["exposed_us"], 5);
  EXPECT_EQ(step["communication_us"], 13);
  EXPECT_DOUBLE_EQ(step["overlap"], 9.0 / 13);
  EXPECT_EQ(step["ready_order"], json({1, 0}));
  EXPECT_EQ(step["straggler_rank"], 0);
  EXPECT_EQ(step["straggler_behind_us"], 12);
  EXPECT_EQ(step["buckets"][1], (json{{"bytes", 80}, {"ready_us", 10}, {"launch_us", 13}, {"complete_us", 25}}));
  EXPECT_EQ(step["ranks"][1], (json{{"first_gradient_us", 2}, {"last_gradient_us", 9}}));
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(json::parse(line)["order_hash"], "00ff");
  EXPECT_EQ(json::parse(line)["test_correct"], 8700);
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(Metrics, ALineIsInTheFileAsSoonAsItIsWritten) {
  const test::TemporaryFolder folder;
  MetricsWriter writer(folder.path() / "metrics.jsonl");
  writer.write(StepMetrics{.step = 1, .loss = std::numeric_limits<double>::quiet_NaN(), .statistics = {}});
  EXPECT_TRUE(json::parse(test::read_file(folder.path() / "metrics.jsonl"))["loss"].is_null()) << "JSON knows no NaN";
}

TEST(Summary, HoldsEveryFieldThatChecksReadAndTheLinesThatPeopleRead) {
  Summary summary{.recipe = "vision.fmnist-cnn",
                  .world_size = 2,
                  .epochs = 3,
                  .steps = 1407,
                  .train_samples = 60000,
                  .test_samples = 10000,
                  .test_correct = 9087,
                  .seconds = 60,
                  .samples_per_second = 3000,
                  .params_hash = {"9f3c", "9f3c"},
                  .transport = "tcp",
                  .torch = "2.11.0",
                  .commit = "abc"};
  const json found = json::parse(encode_summary(summary));
  for (const char* field : {"schema", "recipe", "world_size", "epochs", "steps", "train_samples", "test_samples",
                            "test_correct", "test_accuracy", "seconds", "samples_per_second", "params_hash",
                            "params_equal", "transport", "torch", "commit"}) {
    EXPECT_TRUE(found.contains(field)) << field;
  }
  EXPECT_EQ(found["test_accuracy"], 0.9087);
  EXPECT_EQ(found["params_equal"], true);
  EXPECT_EQ(summary.accuracy_line(), "test accuracy: 90.87 % (9087 of 10000)");
  EXPECT_EQ(summary.parameters_line(), "parameters: rank 0 9f3c, rank 1 9f3c (equal)");
  summary.params_hash[1] = "9f3d";
  EXPECT_EQ(summary.parameters_line(), "parameters: rank 0 9f3c, rank 1 9f3d (DIFFERENT)");
  EXPECT_EQ(json::parse(encode_summary(summary))["params_equal"], false);
}

}  // namespace
}  // namespace rondo::trainer
