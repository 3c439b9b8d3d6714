#include "rondo/comm/algorithms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace rondo::comm {
namespace {

using testing::HasSubstr;

TEST(Algorithms, HaveDifferentNamesAndOneLineEach) {
  std::set<std::string_view> names;
  for (const Algorithm& algorithm : algorithms()) {
    EXPECT_TRUE(names.insert(algorithm.name).second) << algorithm.name;
    EXPECT_EQ(find_algorithm(algorithm.name), &algorithm);
    EXPECT_FALSE(algorithm.summary.empty());
    EXPECT_EQ(algorithm.summary.find('\n'), std::string_view::npos);
  }
  EXPECT_EQ(find_algorithm("rings"), nullptr);
}

TEST(Algorithms, ServeEveryGoalByMessages) {
  for (const Goal goal : {Goal::kAllReduce, Goal::kReduceScatter, Goal::kAllGather, Goal::kBroadcast}) {
    int by_messages = 0;
    for (const Algorithm& algorithm : algorithms()) {
      if (algorithm.serves(goal) && algorithm.means == Means::kMessages) ++by_messages;
    }
    EXPECT_GE(by_messages, 2) << name(goal);
  }
}

TEST(Algorithms, SendDescriptorsRoundTheRingWhateverTheGoalTheRootAndTheSize) {
  for (const Algorithm& algorithm : algorithms()) {
    for (const Goal goal : algorithm.goals) {
      for (const int n : {2, 3, 5, 8}) {
        for (int rank = 0; rank < n; ++rank) {
          for (int root = 0; root < n; ++root) {
            const auto schedule = make_schedule({.goal = goal,
                                                 .algorithm = algorithm.name,
                                                 .shape = {.at = {.rank = rank, .world_size = n}, .root = root}});
            ASSERT_TRUE(schedule.ok()) << schedule.status().text();
            EXPECT_THAT(schedule->sends_to, testing::Contains((rank + 1) % n)) << algorithm.name << " " << root;
            EXPECT_THAT(schedule->receives_from, testing::Contains((rank + n - 1) % n))
                << algorithm.name << " " << root;
          }
        }
      }
    }
  }
}

TEST(Algorithms, SayWhatTheyAreInTheirSchedules) {
  for (const Algorithm& algorithm : algorithms()) {
    for (const Goal goal : algorithm.goals) {
      const auto schedule = make_schedule({.goal = goal,
                                           .algorithm = algorithm.name,
                                           .shape = {.at = {.rank = 1, .world_size = 3}, .element_count = 12}});
      ASSERT_TRUE(schedule.ok()) << schedule.status().text();
      EXPECT_EQ(schedule->algorithm, algorithm.name);
      EXPECT_EQ(schedule->goal, goal);
      EXPECT_EQ(schedule->wire, Wire::kSame);
      EXPECT_EQ(schedule->wire_elements, 0);
      bool uses_regions = false;
      for (const Action& action : schedule->actions) {
        for (const auto* places : {&action.from, &action.to}) {
          for (const Place& place : *places) uses_regions = uses_regions || place.rank != 1;
        }
      }
      EXPECT_EQ(uses_regions, algorithm.means == Means::kRegions) << algorithm.name;
    }
  }
}

TEST(OrderOf, IsFixedByAlgorithmAndWorldSize) {
  const auto order = [](Goal goal, std::string_view algorithm, int n) {
    const auto found =
        order_of({.goal = goal, .algorithm = algorithm, .shape = {.at = {.rank = n - 1, .world_size = n}}});
    EXPECT_TRUE(found.ok()) << found.status().text();
    return found.ok() ? *found : Order::kNone;
  };
  const std::map<std::string_view, Order> of_five{
      {"ring", Order::kByChunk},   {"direct", Order::kCanonical},      {"push", Order::kCanonical},
      {"chain", Order::kLinear},   {"one-shot", Order::kCanonical},    {"parameter-server", Order::kCanonical},
      {"halving", Order::kFolded}, {"hierarchical", Order::kCanonical}};
  for (const Algorithm& algorithm : algorithms()) {
    if (!algorithm.serves(Goal::kAllReduce)) continue;
    ASSERT_TRUE(of_five.contains(algorithm.name)) << algorithm.name;
    EXPECT_EQ(order(Goal::kAllReduce, algorithm.name, 5), of_five.at(algorithm.name)) << algorithm.name;
    EXPECT_EQ(order(Goal::kAllReduce, algorithm.name, 1), Order::kCanonical) << algorithm.name;
  }
  EXPECT_EQ(order(Goal::kAllReduce, "chain", 3), Order::kCanonical) << "(0+1)+2 is both";
  EXPECT_EQ(order(Goal::kAllReduce, "chain", 4), Order::kLinear);
  EXPECT_EQ(order(Goal::kReduceScatter, "ring", 5), Order::kByChunk);
  EXPECT_EQ(order(Goal::kBroadcast, "tree", 5), Order::kNone);
  EXPECT_EQ(order(Goal::kAllGather, "direct", 5), Order::kNone);
}

struct Mistake {
  ScheduleQuery query;
  Code code;
  std::string sentence;
};

TEST(MakeSchedule, RefusesWithTheCure) {
  const ScheduleRequest fine{.at = {.rank = 0, .world_size = 4}, .element_count = 8};
  const auto with = [&](auto change) {
    ScheduleRequest shape = fine;
    change(shape);
    return ScheduleQuery{.shape = shape};
  };
  const std::vector<Mistake> mistakes{
      {{.algorithm = "rings", .shape = fine},
       Code::kInvalidArgument,
       "unknown algorithm \"rings\": for all_reduce there are ring, direct, push, one-shot, chain, halving, "
       "hierarchical and parameter-server"},
      {{.goal = Goal::kAllGather, .algorithm = "push", .shape = fine},
       Code::kInvalidArgument,
       "algorithm \"push\" does not serve all_gather: ring and direct would"},
      {with([](ScheduleRequest& s) { s.at.world_size = 0; }), Code::kInvalidArgument, "0 ranks"},
      {with([](ScheduleRequest& s) { s.at.rank = 4; }), Code::kInvalidArgument, "rank 4 is none of 4 ranks"},
      {with([](ScheduleRequest& s) { s.at.rank = -1; }), Code::kInvalidArgument, "rank -1 is none of 4 ranks"},
      {with([](ScheduleRequest& s) { s.element_count = -1; }), Code::kInvalidArgument, "-1 elements"},
      {with([](ScheduleRequest& s) { s.element_count = kMostElements + 1; }), Code::kInvalidArgument, "0 to 2^40"},
      {with([](ScheduleRequest& s) { s.segment_elements = 0; }), Code::kInvalidArgument, "segments of 0 elements"},
      {with([](ScheduleRequest& s) { s.root = 4; }), Code::kInvalidArgument, "root 4 is none of 4 ranks"},
      {with([](ScheduleRequest& s) {
         s.host_of_rank = {0, 0, 1};
       }),
       Code::kInvalidArgument, "hosts of 3 ranks are given, but there are 4"},
      {with([](ScheduleRequest& s) { s.wire = Wire::kNarrow; }), Code::kUnsupported,
       "algorithm \"ring\" has no narrow wire, as only those have whose partial sums never travel: direct, one-shot "
       "and parameter-server"},
  };
  for (const Mistake& mistake : mistakes) {
    const auto schedule = make_schedule(mistake.query);
    EXPECT_EQ(schedule.status().code(), mistake.code) << mistake.sentence;
    EXPECT_THAT(schedule.status().text(), HasSubstr(mistake.sentence));
    EXPECT_EQ(order_of(mistake.query).ok(), mistake.query.shape.element_count != fine.element_count);
  }
  ScheduleQuery gather{.goal = Goal::kAllGather, .algorithm = "direct", .shape = fine};
  gather.shape.wire = Wire::kNarrow;
  EXPECT_THAT(make_schedule(gather).status().text(), HasSubstr("all_gather hands elements on as they are"));
}

TEST(MakeSchedule, OffersANarrowWireWhereTheTableSaysSo) {
  for (const Algorithm& algorithm : algorithms()) {
    for (const Goal goal : algorithm.goals) {
      const bool sums = goal == Goal::kAllReduce || goal == Goal::kReduceScatter;
      const auto schedule =
          make_schedule({.goal = goal,
                         .algorithm = algorithm.name,
                         .shape = {.at = {.rank = 1, .world_size = 3}, .element_count = 12, .wire = Wire::kNarrow}});
      ASSERT_EQ(schedule.ok(), sums && algorithm.narrowest == Wire::kNarrow) << algorithm.name << " " << name(goal);
      if (!schedule.ok()) continue;
      for (const Action& action : schedule->actions) {
        const bool travels = action.kind == ActionKind::kSend || action.kind == ActionKind::kReceive;
        const auto& places = action.kind == ActionKind::kSend ? action.from : action.to;
        if (travels) {
          EXPECT_EQ(places[0].space, Space::kWire) << algorithm.name;
        }
      }
    }
  }
}

TEST(MakeSchedule, IsPure) {
  for (const Algorithm& algorithm : algorithms()) {
    const ScheduleQuery query{
        .goal = algorithm.goals[0],
        .algorithm = algorithm.name,
        .shape = {.at = {.rank = 2, .world_size = 5}, .element_count = 77, .segment_elements = 4}};
    const auto once = make_schedule(query);
    const auto again = make_schedule(query);
    ASSERT_TRUE(once.ok() && again.ok());
    EXPECT_EQ(once->actions, again->actions) << algorithm.name;
  }
}

}  // namespace
}  // namespace rondo::comm
