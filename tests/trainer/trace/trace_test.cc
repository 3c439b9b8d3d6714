/// The trace's file as a viewer reads it.
#include "rondo/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/trainer/support/trainer_ranks.h"
#include "trainer/trace/trace_events.h"

namespace rondo::trainer {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json parsed(const TraceEvents& events) { return json::parse("[" + events.text() + "]"); }

std::vector<json> complete_events(const json& all) {
  std::vector<json> found;
  for (const json& event : all) {
    if (event["ph"] == "X") found.push_back(event);
  }
  return found;
}

StepStatistics two_buckets() {
  return {.step = 3,
          .begin_ns = 5'000'000'000,
          .backward_end_us = 900,
          .reduced_us = 1'100,
          .record_us = 1'150,
          .buckets = {{.byte_count = 64, .ready_us = 100, .launch_us = 120, .complete_us = 400},
                      {.byte_count = 32, .ready_us = 800, .launch_us = 800, .complete_us = 1'100}},
          .ranks = {{.first_gradient_us = 2'000, .last_gradient_us = 2'800},
                    {.first_gradient_us = 2'500, .last_gradient_us = 3'300}}};
}

TEST(TraceEvents, StepHoldsItsPartsWithoutGapsOnRankZerosClock) {
  TraceEvents events(1, 100, {.offset_ns = 1'000, .error_ns = 250});
  events.add(two_buckets());
  std::map<std::string, json> by_name;
  for (const json& event : complete_events(parsed(events))) by_name[event["name"]] = event;
  const json& step = by_name["step"];
  EXPECT_DOUBLE_EQ(step["ts"], 5'000'000.0 + 1 - 2'500) << "begins where the record before ended";
  EXPECT_DOUBLE_EQ(step["dur"], 2'500 + 1'150);
  EXPECT_EQ(step["args"]["step"], 3);
  double at = step["ts"];
  for (const char* part : {"data and forward", "backward", "wait for buckets", "record"}) {
    EXPECT_DOUBLE_EQ(by_name[part]["ts"], at) << part;
    EXPECT_EQ(by_name[part]["pid"], 1);
    at += by_name[part]["dur"].get<double>();
  }
  EXPECT_DOUBLE_EQ(at, step["ts"].get<double>() + step["dur"].get<double>());
}

TEST(TraceEvents, EveryBucketHasATrackOfItsOwnWithItsBytes) {
  TraceEvents events(0, 100, {});
  events.add(two_buckets());
  std::map<int, std::vector<json>> by_track;
  for (const json& event : complete_events(parsed(events))) by_track[event["tid"]].push_back(event);
  for (int bucket : {0, 1}) {
    const auto& of_bucket = by_track[kFirstBucketTrack + bucket];
    ASSERT_EQ(of_bucket.size(), 2U);
    EXPECT_EQ(of_bucket[0]["name"], "ready");
    EXPECT_EQ(of_bucket[1]["name"], "all_reduce");
    EXPECT_EQ(of_bucket[1]["args"]["bytes"], bucket == 0 ? 64 : 32);
  }
  EXPECT_THAT(events.text(), HasSubstr(R"("name":"bucket 1")"));
}

TEST(TraceEvents, OldestAreForgottenWhenTheBoundIsReached) {
  TraceEvents events(0, 5, {});
  for (int64_t i = 0; i < 100; ++i) events.add({.name = std::to_string(i), .begin_ns = i});
  ASSERT_EQ(events.events().size(), 5U);
  EXPECT_EQ(events.events().front().name, "95");
}

TEST(TraceEvents, NamesAndTimesOfAnyKindStayJson) {
  TraceEvents events(0, 5, {.offset_ns = -7'000'000'000'000'123});
  events.add({.name = "a \"b\"\n\\ \xff", .begin_ns = 1, .duration_ns = 1'234'567});
  const json event = complete_events(parsed(events)).at(0);
  EXPECT_THAT(event["name"].get<std::string>(), HasSubstr("a \"b\"\n\\ "));
  EXPECT_DOUBLE_EQ(event["ts"], -7'000'000'000'000.122);
  EXPECT_DOUBLE_EQ(event["dur"], 1'234.567);
}

class TraceFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("rondo-trace-" + std::to_string(::getpid()));
};

TEST_F(TraceFile, HoldsStepsBucketsAndSpansOfEveryRank) {
  const std::string file = folder_ / "trace.json";
  test::run_jobs(2, [&](const Job& job) {
    test::Mlp net;
    DistributedDataParallel ddp(job, *net, {.bucket_cap_bytes = 2048, .first_bucket_bytes = 512});
    Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.01));
    Trace trace(job);
    EXPECT_EQ(trace.clock_error().count(), 0);
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      torch::Tensor loss;
      {
        const auto span = trace.span("forward");
        loss = test::mean_loss(net, test::samples(4, 10 + job.rank));
      }
      loss.backward();
      optimizer.step();
      trace.add(ddp.statistics());
    }
    trace.write(file);
  });
  std::ifstream stream(file);
  const json all = json::parse(stream);
  ASSERT_TRUE(all.is_array());
  std::map<std::pair<int, std::string>, int> count;  // by rank and name
  for (const json& event : complete_events(all)) {
    ++count[{event["pid"], event["name"]}];
    EXPECT_GE(event["dur"].get<double>(), 0);
  }
  for (int rank : {0, 1}) {
    for (const char* name : {"step", "backward", "record", "forward"}) {
      EXPECT_EQ((count[{rank, name}]), 3) << "rank " << rank << " " << name;
    }
    EXPECT_GE((count[{rank, "all_reduce"}]), 6) << "rank " << rank;
  }
}

// What two ranks do together ends together on one clock: no rank has a step's record before the other entered it.
TEST_F(TraceFile, PutsBothRanksOnOneClock) {
  const std::string file = folder_ / "trace.json";
  test::run_jobs(2, [&](const Job& job) {
    test::Mlp net;
    DistributedDataParallel ddp(job, *net);
    Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.01));
    Trace trace(job);
    for (int step = 0; step < 4; ++step) {
      optimizer.zero_grad();
      test::mean_loss(net, test::samples(4, 10 + job.rank)).backward();
      optimizer.step();
      trace.add(ddp.statistics());
    }
    trace.write(file);
  });
  std::ifstream stream(file);
  std::map<int64_t, std::map<int, json>> records;  // by step and rank
  for (const json& event : complete_events(json::parse(stream))) {
    if (event["name"] == "record") records[event["args"]["step"].get<int64_t>()][event["pid"].get<int>()] = event;
  }
  ASSERT_EQ(records.size(), 4U);
  for (const auto& [step, by_rank] : records) {
    ASSERT_EQ(by_rank.size(), 2U) << "step " << step;
    for (int rank : {0, 1}) {
      const json &mine = by_rank.at(rank), &other = by_rank.at(1 - rank);
      EXPECT_GE(mine["ts"].get<double>() + mine["dur"].get<double>() + 2, other["ts"].get<double>())
          << "step " << step << ": rank " << rank << " left the record before the other came";
    }
  }
}

TEST_F(TraceFile, ThatCannotBeWrittenIsAnErrorOnEveryRank) {
  test::run_jobs(2, [&](const Job& job) {
    const Trace trace(job);
    EXPECT_THAT(test::error_of([&] { trace.write(folder_ / "missing" / "trace.json"); }), HasSubstr("missing"));
  });
}

}  // namespace
}  // namespace rondo::trainer
