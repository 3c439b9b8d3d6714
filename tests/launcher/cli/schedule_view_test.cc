#include "launcher/cli/schedule_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "rondo/comm/algorithms.h"

namespace rondo::launcher {
namespace {

using comm::Action;
using comm::ActionKind;
using comm::Goal;
using comm::Range;
using comm::Schedule;
using comm::Wire;
using testing::HasSubstr;

std::vector<Schedule> schedules_of(comm::ScheduleQuery query) {
  std::vector<Schedule> ranks;
  for (int rank = 0; rank < query.shape.at.world_size; ++rank) {
    query.shape.at.rank = rank;
    auto schedule = comm::make_schedule(query);
    EXPECT_TRUE(schedule.ok()) << schedule.status().text();
    if (schedule.ok()) ranks.push_back(std::move(*schedule));
  }
  return ranks;
}

TEST(ElementsOf, FindsWhatScratchAndWireMemoryStandsFor) {
  // Whatever memory a message leaves from and arrives in, both ends are about the same elements.
  for (const comm::Algorithm& algorithm : comm::algorithms()) {
    for (const Goal goal : algorithm.goals) {
      for (const Wire wire : {Wire::kSame, Wire::kNarrow}) {
        const bool sums = goal == Goal::kAllReduce || goal == Goal::kReduceScatter;
        if (wire == Wire::kNarrow && (algorithm.narrowest != wire || !sums)) continue;
        const auto ranks = schedules_of(
            {.goal = goal,
             .algorithm = algorithm.name,
             .shape = {.at = {.rank = 0, .world_size = 5}, .element_count = 97, .segment_elements = 4, .wire = wire}});
        std::map<std::pair<int, int>, std::vector<std::pair<int64_t, int64_t>>> sent, received;
        for (const Schedule& schedule : ranks) {
          for (size_t i = 0; i < schedule.actions.size(); ++i) {
            const Action& action = schedule.actions[i];
            const Range range = elements_of(schedule, i);
            if (action.kind == ActionKind::kSignal || action.kind == ActionKind::kWait) {
              EXPECT_EQ(range, Range{});
              continue;
            }
            EXPECT_GT(range.count(), 0) << algorithm.name << " action " << i;
            if (action.kind == ActionKind::kSend) {
              sent[{schedule.at.rank, action.peer}].emplace_back(range.begin, range.end);
            }
            if (action.kind == ActionKind::kReceive) {
              received[{action.peer, schedule.at.rank}].emplace_back(range.begin, range.end);
            }
          }
        }
        EXPECT_EQ(sent, received) << algorithm.name << " " << name(goal) << " " << name(wire);
      }
    }
  }
}

TEST(ScheduleTable, OfTheRingIsTheWorkedExample) {
  const std::string table = schedule_table(
      schedules_of({.algorithm = "ring", .shape = {.at = {.rank = 0, .world_size = 4}, .element_count = 10}}));
  EXPECT_THAT(table, testing::StartsWith("ring all_reduce of 10 elements over 4 ranks, order: by chunk\n"
                                         "\n"
                                         "hop 1 of 6\n"
                                         "  rank  sends         receives        computes\n"
                                         "  0     [0, 3) to 1   [8, 10) from 3  sum of 2 [8, 10)\n"
                                         "  1     [3, 6) to 2   [0, 3) from 0   sum of 2 [0, 3)\n"
                                         "  2     [6, 8) to 3   [3, 6) from 1   sum of 2 [3, 6)\n"
                                         "  3     [8, 10) to 0  [6, 8) from 2   sum of 2 [6, 8)\n"));
  EXPECT_THAT(table, HasSubstr("\nhop 6 of 6\n"
                               "  rank  sends         receives\n"
                               "  0     [8, 10) to 1  [6, 8) from 3\n"));
  EXPECT_THAT(table, testing::EndsWith("\ntotal\n"
                                       "  rank  messages  elements sent  bytes sent  scratch\n"
                                       "  0     6         15             60          3\n"
                                       "  1     6         16             64          3\n"
                                       "  2     6         15             60          3\n"
                                       "  3     6         14             56          3\n"
                                       "all ranks: 24 messages, 240 bytes in float32, 6 hops\n"));
}

TEST(ScheduleTable, JoinsSegmentsAndPeers) {
  const std::string table = schedule_table(
      schedules_of({.algorithm = "direct",
                    .shape = {.at = {.rank = 0, .world_size = 5}, .element_count = 50, .segment_elements = 3}}));
  EXPECT_THAT(table, HasSubstr("final sum of 5 [0, 10) in 4 parts\n"));
  EXPECT_THAT(table, HasSubstr("  0     [0, 10) to all others in 4 parts   "));
  const std::string wide = schedule_table(
      schedules_of({.algorithm = "direct", .shape = {.at = {.rank = 0, .world_size = 9}, .element_count = 9}}));
  EXPECT_THAT(wide, HasSubstr("  0     [1, 2) to 1; [2, 3) to 2; [3, 4) to 3; and 5 more  [0, 1) from all others  "));
}

TEST(ScheduleTable, CountsMemoryTrafficWhereThereAreNoMessages) {
  const std::string table = schedule_table(
      schedules_of({.algorithm = "push", .shape = {.at = {.rank = 0, .world_size = 4}, .element_count = 16}}));
  EXPECT_THAT(table, HasSubstr("  0     signal 1 to all others  signal 1 from all others\n"));
  EXPECT_THAT(table, HasSubstr("  1     final sum of 4, stored to 4 ranks, [4, 8)\n"));
  EXPECT_THAT(table, HasSubstr("  rank  read from others  stored to others  bytes moved\n"
                               "  0     12                12                96\n"));
}

TEST(ScheduleTable, ShowsOnlyRanksThatTakePartInAHop) {
  const auto table_of = [](int64_t elements) {
    return schedule_table(
        schedules_of({.goal = Goal::kBroadcast,
                      .algorithm = "tree",
                      .shape = {.at = {.rank = 0, .world_size = 6}, .element_count = elements, .root = 2}}));
  };
  EXPECT_THAT(table_of(24), testing::StartsWith("tree broadcast of 24 elements over 6 ranks\n"
                                                "\n"
                                                "hop 1 of 3\n"
                                                "  rank  sends         receives\n"
                                                "  0                   [0, 24) from 2\n"
                                                "  2     [0, 24) to 0\n"
                                                "\n"
                                                "hop 2 of 3\n"));
  EXPECT_THAT(table_of(0), testing::StartsWith("tree broadcast of 0 elements over 6 ranks\n\ntotal\n"));
}

TEST(ScheduleJson, HoldsEveryActionOfEveryRank) {
  const auto ranks = schedules_of(
      {.algorithm = "direct",
       .shape = {
           .at = {.rank = 0, .world_size = 3}, .element_count = 7, .segment_elements = 2, .wire = Wire::kNarrow}});
  const comm::Proof proof{.actions = 1, .messages = 2, .accesses = 3};
  const auto json = nlohmann::json::parse(schedule_json(ranks, &proof));
  EXPECT_EQ(json["algorithm"], "direct");
  EXPECT_EQ(json["op"], "all_reduce");
  EXPECT_EQ(json["order"], "canonical");
  EXPECT_EQ(json["wire"], "narrow");
  EXPECT_EQ(json["proof"]["messages"], 2);
  ASSERT_EQ(json["ranks"].size(), 3U);
  for (size_t rank = 0; rank < 3; ++rank) {
    const auto& actions = json["ranks"][rank]["actions"];
    ASSERT_EQ(actions.size(), ranks[rank].actions.size());
    for (size_t i = 0; i < actions.size(); ++i) {
      const Action& action = ranks[rank].actions[i];
      EXPECT_EQ(actions[i]["kind"], name(action.kind));
      EXPECT_EQ(actions[i]["hop"], action.hop);
      ASSERT_EQ(actions[i].contains("from"), !action.from.empty());
      if (!action.from.empty()) {
        EXPECT_EQ(actions[i]["from"][0]["space"], name(action.from[0].space));
        EXPECT_EQ(actions[i]["from"][0]["end"], action.from[0].range.end);
      }
    }
    EXPECT_EQ(json["ranks"][rank]["float32_bytes"], json["ranks"][rank]["elements_sent"].get<int64_t>() * 2);
  }
  EXPECT_FALSE(nlohmann::json::parse(schedule_json(ranks, nullptr)).contains("proof"));
}

TEST(ProofText, SaysWhatWasProven) {
  const auto ranks =
      schedules_of({.algorithm = "direct",
                    .shape = {.at = {.rank = 0, .world_size = 3}, .element_count = 7, .wire = Wire::kNarrow}});
  const auto proof = comm::check_schedules({.ranks = ranks});
  ASSERT_TRUE(proof.ok());
  const std::string text = proof_text(ranks, *proof);
  EXPECT_THAT(text, HasSubstr("every element holds each rank exactly once, in the order \"canonical\""));
  EXPECT_THAT(text, HasSubstr("equal on all ranks"));
  EXPECT_THAT(text, HasSubstr("passes through the wire type, once"));
  EXPECT_THAT(text, HasSubstr("  messages  12, each received"));
}

TEST(AlgorithmList, HasALineForEach) {
  const std::string list = algorithm_list();
  for (const comm::Algorithm& algorithm : comm::algorithms()) {
    EXPECT_THAT(list, HasSubstr("\n  " + std::string(algorithm.name) + " "));
  }
  const auto json = nlohmann::json::parse(algorithm_json());
  ASSERT_EQ(json.size(), comm::algorithms().size());
  EXPECT_EQ(json[0]["name"], "ring");
  EXPECT_EQ(json[2]["needs"], "regions");
  EXPECT_EQ(json[1]["narrow_wire"], true);
}

}  // namespace
}  // namespace rondo::launcher
