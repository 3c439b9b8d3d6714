/// Seeded wrong schedules: messages, memory, deadlocks and races. Sums and wire types: schedule_check_sums_test.cc.
#include "rondo/comm/schedule_check.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/comm/schedule/wrong.h"

namespace rondo::comm {
namespace {

using test::chains;
using test::directs;
using test::expect_refused;
using test::find;
using test::pushes;
using test::rings;

// -- messages --------------------------------------------------------------------------------------------------------

TEST(CheckRefuses, HopAfterHopWithMoreSegmentsThanSlots) {
  const auto by_hop = [](const Action& a, const Action& b) {
    return std::pair(a.hop, a.kind != ActionKind::kSend) < std::pair(b.hop, b.kind != ActionKind::kSend);
  };
  const auto hop_major = [&](int segments) {
    auto ranks = rings(4, int64_t{4} * 3 * segments);
    for (Schedule& schedule : ranks) std::ranges::stable_sort(schedule.actions, by_hop);
    return ranks;
  };
  EXPECT_TRUE(check_schedules({.ranks = hop_major(4)}).ok());
  expect_refused(hop_major(5), 0,
                 {"deadlock with 4 slots", "rank 0, action 4 (send, peer 1, hop 0, segment 4)", "rank 3"});
}

TEST(CheckRefuses, LanesThatHaveTooFewSlots) {
  auto ranks = rings(4, 4 * 3 * 8);
  for (Schedule& schedule : ranks) schedule.slots = 3;
  expect_refused(ranks, 0, {"deadlock with 3 slots", "rank 0, action 3 (send"});
}

TEST(CheckRefuses, APipelineThatRunsTooFarAhead) {
  auto ranks = directs(3, 3 * 3 * 5);
  for (Schedule& schedule : ranks) schedule.slots = 1;
  expect_refused(ranks, 0, {"deadlock with 1 slots", "(send"});
}

TEST(CheckRefuses, UnevenHostsWithoutSlotsForTheirManyMessages) {
  const std::vector<int> hosts{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1};
  auto ranks = test::schedules_of({.algorithm = "hierarchical", .n = 11, .elements = 400, .host_of_rank = hosts});
  EXPECT_TRUE(check_schedules({.host_of_rank = hosts, .ranks = ranks}).ok());
  for (Schedule& schedule : ranks) schedule.slots = 4;
  const auto proof = check_schedules({.host_of_rank = hosts, .ranks = ranks});
  EXPECT_NE(proof.status().message().find("deadlock with 4 slots"), std::string::npos) << proof.status().text();
}

TEST(CheckRefuses, AMessageThatIsTooShort) {
  auto ranks = rings(4, 8);
  --find(ranks[1], ActionKind::kSend, 1)->from[0].range.end;
  expect_refused(ranks, 2,
                 {"rank 2, action 4 (receive, peer 1", "takes 2 elements", "rank 1, action 3 (send", "brings 1"});
}

TEST(CheckRefuses, AReceiveThatNobodyServes) {
  auto ranks = rings(3, 3);
  ranks[1].actions.push_back(*find(ranks[1], ActionKind::kReceive));
  expect_refused(ranks, 1, {"waits for ever", "rank 0 has finished without sending"});
}

TEST(CheckRefuses, AMessageThatNobodyReceives) {
  auto ranks = rings(3, 3);
  ranks[1].actions.push_back(*find(ranks[1], ActionKind::kSend));
  expect_refused(ranks, 1, {"(send, peer 2", "nobody receives this message"});
}

TEST(CheckRefuses, AMessageOfAnotherSegment) {
  auto ranks = rings(4, 4 * 3 * 2);
  std::swap(find(ranks[1], ActionKind::kSend, 0)->segment, find(ranks[1], ActionKind::kSend, 1)->segment);
  expect_refused(ranks, 2, {"rank 2, action 2 (receive, peer 1", "its own hop and segment"});
}

TEST(CheckRefuses, TheWrongPeer) {
  auto ranks = rings(4, 4);
  find(ranks[1], ActionKind::kSend)->peer = 3;
  expect_refused(ranks, 1, {"rank 1, action 0 (send, peer 3", "wrong peer"});
  find(ranks[1], ActionKind::kSend)->peer = 4;
  expect_refused(ranks, 1, {"wrong peer 4 of 4 ranks"});
}

TEST(CheckRefuses, PeersThatDoNotNameOneAnother) {
  auto ranks = rings(4, 0);
  ranks[2].receives_from = {};
  expect_refused(ranks, 1, {"sends_to names rank 2, whose receives_from does not name it"});
  ranks = rings(4, 0);
  ranks[2].sends_to = {};
  expect_refused(ranks, 3, {"receives_from names rank 2, whose sends_to does not name it"});
  ranks = directs(3, 0);
  ranks[1].sends_to = {2, 0};
  expect_refused(ranks, 1, {"sends_to is not ascending"});
}

TEST(CheckRefuses, AHopThatIsNotDeclared) {
  auto ranks = directs(3, 6);
  for (Schedule& schedule : ranks) schedule.hop_count = 1;
  expect_refused(ranks, 2, {"rank 2, action 5 (send, peer 0, hop 1", "beyond the 1 declared"});
}

TEST(CheckRefuses, SchedulesThatDoNotBelongTogether) {
  auto ranks = rings(3, 6);
  ranks[2] = rings(3, 7)[2];
  expect_refused(ranks, 2, {"another algorithm, goal, element count, order or wire than that of rank 0"});
  ranks = rings(3, 6);
  ranks[1] = directs(3, 6)[1];
  expect_refused(ranks, 1, {"another algorithm"});
  ranks = rings(3, 6);
  std::swap(ranks[0], ranks[1]);
  expect_refused(ranks, 0, {"its schedule was made for rank 1 of 3"});
  EXPECT_FALSE(check_schedules({}).ok());
  EXPECT_FALSE(check_schedules({.host_of_rank = {0, 0}, .ranks = rings(3, 6)}).ok());
}

// -- memory ----------------------------------------------------------------------------------------------------------

TEST(CheckRefuses, ARangeThatIsOverwrittenUnderASend) {
  auto ranks = chains(3, 6);
  const auto data = [](Range range) { return Place{.rank = 0, .space = Space::kData, .range = range}; };
  ranks[0].actions.insert(ranks[0].actions.begin() + 1,
                          Action{.kind = ActionKind::kCopy, .from = {data({3, 6})}, .to = {data({0, 3})}});
  expect_refused(
      ranks, 0,
      {"rank 0, action 1 (copy", "overwrites data [0, 3)", "rank 0, action 0 (send, peer 1", "may not have received"});
}

TEST(CheckRefuses, ScratchThatIsUsedAgainTooEarly) {
  auto ranks = chains(3, 6);
  Schedule& middle = ranks[1];
  middle.scratch_elements = 3;
  const Place scratch{.rank = 1, .space = Space::kScratch, .range = {0, 3}};
  std::vector<Action> through_scratch;
  for (Action action : std::exchange(middle.actions, {})) {
    if (action.kind == ActionKind::kReceive) {
      const Place data = std::exchange(action.to[0], scratch);
      through_scratch.push_back(action);
      through_scratch.push_back({.kind = ActionKind::kCopy, .from = {scratch}, .to = {data}});
    } else {
      action.from[0] = scratch;
      through_scratch.push_back(action);
    }
  }
  middle.actions = through_scratch;
  expect_refused(ranks, 1,
                 {"rank 1, action 3 (receive, peer 0", "overwrites scratch [0, 3)", "rank 1, action 2 (send"});
}

TEST(CheckRefuses, OnePartialSumLessThanMessagesUnderWay) {
  auto ranks = test::schedules_of({.goal = Goal::kReduceScatter, .algorithm = "ring", .n = 4, .elements = 4 * 3 * 12});
  EXPECT_TRUE(check_schedules({.ranks = ranks}).ok());
  for (Schedule& schedule : ranks) schedule.slots = 5;  // a free slot no longer means that the range is free
  expect_refused(ranks, 3, {"(receive, peer 2", "overwrites scratch", "rank 0 may not have received it yet"});
}

TEST(CheckRefuses, ACopyThatIsRoundedAgainWhileItTravels) {
  auto ranks = test::schedules_of({.algorithm = "one-shot", .n = 3, .elements = 3 * 12});
  for (Action& action : ranks[1].actions) {  // two copies instead of four
    for (auto* places : {&action.from, &action.to}) {
      for (Place& place : *places) {
        if (place.space == Space::kScratch && place.range.begin >= 4 * 3) {
          place.range = {place.range.begin - 6, place.range.end - 6};
        }
      }
    }
  }
  expect_refused(ranks, 1, {"(copy", "overwrites scratch", "(send, peer 2, hop 0, segment 0)"});
}

TEST(CheckRefuses, ScratchThatWasNeverWritten) {
  auto ranks = rings(3, 3);
  ranks[0].scratch_elements = 9;
  find(ranks[0], ActionKind::kReduce)->from[0].range = {5, 6};
  expect_refused(ranks, 0, {"rank 0, action 2 (reduce", "element 5 was never written"});
}

TEST(CheckRefuses, APlaceOutOfRange) {
  auto ranks = rings(3, 3);
  find(ranks[1], ActionKind::kSend)->from[0].range = {3, 4};
  expect_refused(ranks, 1, {"rank 1, action 0 (send", "data [3, 4) of rank 1", "there are 3 elements"});
}

TEST(CheckRefuses, ScratchOfAnotherRank) {
  auto ranks = pushes(3, 9);
  for (Schedule& schedule : ranks) schedule.scratch_elements = 3;
  find(ranks[0], ActionKind::kReduce)->from[1] = {.rank = 1, .space = Space::kScratch, .range = {0, 3}};
  expect_refused(ranks, 0, {"(reduce", "scratch [0, 3) of rank 1 cannot be reached"});
}

TEST(CheckRefuses, AMessageFromForeignMemory) {
  auto ranks = rings(3, 3);
  find(ranks[1], ActionKind::kSend)->from[0].rank = 0;
  expect_refused(ranks, 1, {"(send", "is foreign"});
}

TEST(CheckRefuses, ATargetThatOverlapsAnOperandWithoutBeingIt) {
  auto ranks = pushes(2, 12);
  const Place shifted{.rank = 0, .space = Space::kData, .range = {1, 4}};
  find(ranks[0], ActionKind::kReduce)->to[0] = shifted;
  expect_refused(ranks, 0, {"(reduce", "data [1, 4) of rank 0 overlaps the operand data [0, 3) of rank 0"});
}

TEST(CheckRefuses, ATargetThatIsStoredToTwice) {
  auto ranks = pushes(2, 12);
  auto& to = find(ranks[0], ActionKind::kReduce)->to;
  to.push_back(to[0]);
  expect_refused(ranks, 0, {"(reduce", "is stored to twice"});
}

TEST(CheckRefuses, ElementsThatEndInTheWrongPlace) {
  auto ranks = chains(2, 6);
  std::swap(find(ranks[0], ActionKind::kSend, 0)->from, find(ranks[0], ActionKind::kSend, 1)->from);
  expect_refused(ranks, 1, {"rank 1, action 0 (receive", "element 0 ends as element 3"});
}

TEST(CheckRefuses, AnElementThatNobodyGets) {
  auto ranks = chains(2, 6);
  ranks[0].actions.pop_back();
  ranks[1].actions.pop_back();
  expect_refused(ranks, 1, {"rank 1: element 3 is never written"});
}

// -- signals ---------------------------------------------------------------------------------------------------------

TEST(CheckRefuses, ARegionThatIsReadBeforeTheSignal) {
  auto ranks = pushes(4, 8);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kWait, 1));  // for rank 1
  expect_refused(ranks, 2, {"rank 2, action", "data [4, 6) of rank 1", "before it starts", "missing"});
}

TEST(CheckRefuses, AWaitThatIsLeftOutBeforeLeaving) {
  auto ranks = pushes(4, 8);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kWait, 4));  // the second wait for rank 1
  expect_refused(ranks, 1, {"rank 1, action", "to rank 2, which may have left"});
}

TEST(CheckRefuses, ASignalThatIsNeverRaised) {
  auto ranks = pushes(3, 8);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kSignal, 2));  // the second one at rank 0
  expect_refused(ranks, 0,
                 {"rank 0, action", "(wait, peer 2", "waits for ever", "rank 2 has finished without this signal"});
}

TEST(CheckRefuses, ASignalThatDoesNotRise) {
  auto ranks = pushes(3, 8);
  find(ranks[2], ActionKind::kSignal, 2)->value = 1;
  expect_refused(ranks, 2, {"does not raise its signal: it is 1 already"});
}

TEST(CheckRefuses, ASignalThatIsRaisedBeforeTheStoresItStandsFor) {
  auto ranks = pushes(2, 8);
  auto& actions = ranks[1].actions;
  const auto reduce = std::ranges::find(actions, ActionKind::kReduce, &Action::kind);
  const auto done = find(ranks[1], ActionKind::kSignal, 1);
  std::rotate(reduce, done, done + 1);
  expect_refused(ranks, 1, {"(reduce", "to rank 0, which may have left"});
}

// Every rank sums for itself. Started with its own operand the sums differ, started with rank 0's they agree.
std::vector<Schedule> everyone_sums(bool own_first, Order order) {
  return test::on_all_ranks(2, [&](Position at) {
    const int peer = 1 - at.rank;
    const auto data = [](int rank) { return Place{.rank = rank, .space = Space::kData, .range = {0, 5}}; };
    const Place scratch{.rank = at.rank, .space = Space::kScratch, .range = {0, 5}};
    const int first = own_first ? at.rank : 0;
    Schedule schedule{.at = at, .algorithm = "everyone", .order = order, .element_count = 5, .scratch_elements = 5};
    schedule.actions = {
        {.kind = ActionKind::kSignal, .peer = peer, .value = 1},
        {.kind = ActionKind::kWait, .peer = peer, .value = 1},
        {.kind = ActionKind::kReduce,
         .finality = Finality::kFinal,
         .from = {data(first), data(1 - first)},
         .to = {scratch}},
        {.kind = ActionKind::kSignal, .peer = peer, .value = 2},
        {.kind = ActionKind::kWait, .peer = peer, .value = 2},
        {.kind = ActionKind::kCopy, .from = {scratch}, .to = {data(at.rank)}},
    };
    return schedule;
  });
}

TEST(CheckRefuses, ResultsThatDifferBetweenRanks) {
  EXPECT_TRUE(check_schedules({.ranks = everyone_sums(false, Order::kLinear)}).ok());
  expect_refused(everyone_sums(true, Order::kByChunk), 1, {"rank 1, action 5 (copy", "other bits than on rank 0"});
}

TEST(CheckRefuses, AStoreWhileAPeerStillReads) {
  auto ranks = everyone_sums(false, Order::kLinear);
  ranks[0].actions.erase(ranks[0].actions.begin() + 4);
  expect_refused(ranks, 0, {"rank 0, action 4 (copy", "rank 1, action 2 (reduce", "may still read it"});
}

TEST(CheckRefuses, TwoRanksThatStoreToTheSameElements) {
  auto ranks = pushes(2, 2);
  find(ranks[1], ActionKind::kReduce)->to.push_back({.rank = 0, .space = Space::kData, .range = {0, 1}});
  expect_refused(ranks, 0, {"rank 0, action 2 (reduce", "data [0, 1) of rank 0", "rank 1, action 2 (reduce"});
}

}  // namespace
}  // namespace rondo::comm
