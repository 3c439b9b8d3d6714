#include "comm/bench/row.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "comm/bench/report.h"

namespace rondo::bench {
namespace {

Row example() {
  Row row{
      .operation = "all_reduce",
      .reduction = "sum",
      .byte_count = 1024,
      .element_count = 256,
      .label = {.contender = "rondo", .algorithm = "ring", .transport = "shm", .memory = Label::Memory::kRegistered},
      .ranks = 2,
      .round = 3,
      .calls = 100,
      .time = {.min = 1, .p50 = 2, .p99 = 3, .max = 4},
      .algbw = 0.512,
      .busbw = 0.512};
  row.copy_us = 0.5;
  return row;
}

TEST(Row, HasTheFieldsThatProgramsRead) {
  const auto json = nlohmann::json::parse(row_json(example()));
  for (const char* field :
       {"op", "bytes", "elements", "dtype", "algorithm", "transport", "registered", "contender", "round", "min_us",
        "p50_us", "p99_us", "max_us", "algbw_gbs", "busbw_gbs", "wrong", "ratio_best_rival"}) {
    EXPECT_TRUE(json.contains(field)) << field;
  }
  EXPECT_EQ(json["kind"], "row");
  EXPECT_EQ(json["round"], 3);
  EXPECT_EQ(json["registered"], true);
  EXPECT_EQ(json["p50_us"], 2.0);
  EXPECT_TRUE(json["ratio_best_rival"].is_null());
}

TEST(Row, SharesTheMemoryFloorByTwoCopies) {
  // 2 x 0.5 us against 2 us taken.
  EXPECT_DOUBLE_EQ(*floor_share(example()), 0.5);
  EXPECT_DOUBLE_EQ(nlohmann::json::parse(row_json(example()))["floor_us"].get<double>(), 1.0);
  Row without = example();
  without.copy_us.reset();
  EXPECT_FALSE(floor_share(without));
}

TEST(Row, OfAllRoundsHasMediansAndEveryWrongElement) {
  Row first = example(), second = example(), third = example();
  second.time = {.min = 0.5, .p50 = 4, .p99 = 30, .max = 40};
  third.time = {.min = 2, .p50 = 8, .p99 = 9, .max = 10};
  second.wrong = 7;
  third.wrong = 1;
  const Row all = over_rounds({first, second, third});
  EXPECT_EQ(all.round, 0);
  EXPECT_EQ(all.calls, 300);
  EXPECT_EQ(all.wrong, 8);
  EXPECT_EQ(all.time.p50, 4);
  EXPECT_EQ(all.time.max, 40);
  EXPECT_DOUBLE_EQ(all.algbw, gigabytes_per_second(1024, 4));
  EXPECT_DOUBLE_EQ(all.busbw, all.algbw) << "of two ranks both bandwidths are equal";
  const auto json = nlohmann::json::parse(row_json(all));
  EXPECT_EQ(json["kind"], "summary");
  EXPECT_TRUE(json["round"].is_null());
}

TEST(Row, LinesUpWithTheHeadAndShowsTheFloorOfSharedMemoryOnly) {
  const auto width_of = [](const std::string& text) { return text.find('\n'); };
  for (const char* transport : {"shm", "tcp"}) {
    Row row = example();
    row.label.transport = transport;
    EXPECT_EQ(width_of(table_head(row.label)), width_of(table_line(row))) << transport;
    EXPECT_EQ(table_head(row.label).find("floor") != std::string::npos, row.label.transport == "shm");
  }
}

TEST(Report, RefusesAFileThatCannotBeWrittenBeforeAnythingIsMeasured) {
  const auto report = Report::open({.json_file = "/nowhere/rows.jsonl"}, 0);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.status().message(), testing::HasSubstr("--json /nowhere/rows.jsonl: cannot write there"));
  EXPECT_TRUE(Report::open({.json_file = "/nowhere/rows.jsonl"}, 1).ok()) << "only rank 0 writes";
}

}  // namespace
}  // namespace rondo::bench
