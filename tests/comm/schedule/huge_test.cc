/// Schedules of more elements than 32 bits can count: every range stays inside of its memory, and every message fits
/// what a stream can carry.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "comm/transport/wire.h"
#include "rondo/comm/algorithms.h"

namespace rondo::comm {
namespace {

constexpr int64_t kPast32Bits = (int64_t{1} << 31) + 5;

/// What the memory of a space holds, in elements.
int64_t room(const Schedule& schedule, Space space) {
  switch (space) {
    case Space::kData:
      return schedule.element_count;
    case Space::kScratch:
      return schedule.scratch_elements;
    case Space::kWire:
      return schedule.wire_elements;
    case Space::kResult:
      return schedule.result_elements;
  }
  return 0;
}

/// Counts what a pair of ranks sends and receives, and looks at every range.
class Audit {
 public:
  void look_at(const Schedule& schedule, int64_t most_message_elements) {
    for (const Action& action : schedule.actions) {
      ASSERT_GE(action.segment, 0);
      for (const auto* places : {&action.from, &action.to}) {
        for (const Place& place : *places) {
          ASSERT_GE(place.range.begin, 0);
          ASSERT_LE(place.range.begin, place.range.end);
          ASSERT_LE(place.range.end, room(schedule, place.space));
        }
      }
      const int me = schedule.at.rank;
      if (action.kind == ActionKind::kSend) add(sent_[{me, action.peer}], action.from[0].range, most_message_elements);
      if (action.kind == ActionKind::kReceive)
        add(received_[{action.peer, me}], action.to[0].range, most_message_elements);
    }
  }
  void expect_all_arrives() const { EXPECT_EQ(sent_, received_); }
  int64_t sent() const {
    int64_t all = 0;
    for (const auto& [pair, count] : sent_) all += count;
    return all;
  }

 private:
  using Pair = std::pair<int, int>;
  static void add(int64_t& count, Range range, int64_t most_message_elements) {
    ASSERT_LE(range.count(), most_message_elements);
    count += range.count();
  }
  std::map<Pair, int64_t> sent_, received_;
};

/// Elements that all ranks together send; -1: depends on more than these.
int64_t sent_by_all(std::string_view algorithm, Goal goal, int n, int64_t count) {
  const int64_t others = n - 1;
  if (goal == Goal::kBroadcast || goal == Goal::kAllGather || goal == Goal::kReduceScatter) return others * count;
  if (algorithm == "one-shot") return n * others * count;
  if (algorithm == "hierarchical" || algorithm == "ring" || algorithm == "direct" || algorithm == "chain" ||
      algorithm == "parameter-server")
    return 2 * others * count;
  return -1;
}

struct Huge {
  int64_t element_count = 0;
  size_t width = 1;  // bytes of an element
  int64_t wanted_segment = 1;
};

void audit(const Algorithm& algorithm, Goal goal, int n, const Huge& huge) {
  SCOPED_TRACE(std::string(algorithm.name) + " " + std::string(name(goal)) + ", " + std::to_string(n) + " ranks, " +
               std::to_string(huge.element_count) + " elements of " + std::to_string(huge.width) + " bytes");
  const int64_t most = kMaxPayloadBytes / static_cast<int64_t>(huge.width);
  Audit audit;
  for (int rank = 0; rank < n; ++rank) {
    const auto schedule = make_schedule({.goal = goal,
                                         .algorithm = algorithm.name,
                                         .shape = {.at = {.rank = rank, .world_size = n},
                                                   .element_count = huge.element_count,
                                                   .segment_elements = huge.wanted_segment,
                                                   .most_message_elements = most}});
    ASSERT_TRUE(schedule.ok()) << schedule.status().text();
    audit.look_at(*schedule, most);
    if (testing::Test::HasFatalFailure()) return;
  }
  audit.expect_all_arrives();
  if (const int64_t sent = sent_by_all(algorithm.name, goal, n, huge.element_count); sent >= 0) {
    EXPECT_EQ(audit.sent(), sent);
  }
}

void audit_all(int n, const Huge& huge) {
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.means != Means::kMessages) continue;
    for (const Goal goal : algorithm.goals) audit(algorithm, goal, n, huge);
  }
}

TEST(HugeSchedules, OfMoreElementsThan32BitsCountSendEachOnceInMessagesThatFit) {
  for (const int n : {2, 5}) {
    audit_all(n, {.element_count = kPast32Bits, .width = 8, .wanted_segment = int64_t{1} << 20});
  }
}

TEST(HugeSchedules, AreCutSmallerThanWantedWhereMessagesWouldNotFit) {
  audit_all(3, {.element_count = kPast32Bits, .width = 8, .wanted_segment = int64_t{1} << 40});
}

TEST(HugeSchedules, OfTheMostElementsAreCutIntoMessagesThatFit) {
  audit_all(2, {.element_count = kMostElements, .width = 1});
}

TEST(HugeSchedules, OfMoreThanTheMostElementsAreRefused) {
  for (const Algorithm& algorithm : algorithms()) {
    const auto schedule =
        make_schedule({.goal = algorithm.goals[0],
                       .algorithm = algorithm.name,
                       .shape = {.at = {.rank = 0, .world_size = 2}, .element_count = kMostElements + 1}});
    EXPECT_EQ(schedule.status().code(), Code::kInvalidArgument) << algorithm.name;
  }
}

}  // namespace
}  // namespace rondo::comm
