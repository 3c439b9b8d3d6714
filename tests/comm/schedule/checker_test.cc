#include "rondo/comm/schedule_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "comm/schedule/makers.h"
#include "tests/comm/schedule/play.h"

namespace rondo::comm {
namespace {

using Make = Schedule (*)(const ScheduleRequest&);

// -- the real ones ---------------------------------------------------------------------------------------------------

constexpr int64_t kSegment = 3;

// Few elements leave chunks empty; the larger counts give every rank several segments and one element more. The work
// grows with n cubed, so beyond 12 ranks each n takes its turn at two of them.
std::vector<int64_t> border_counts(int n) {
  const std::vector<int64_t> all{
      0, 1, n - 1, n, n + 1, 97, n * kSegment + 1, 2, 211, 5 * n * kSegment + n / 2, 9 * n * kSegment + 1};
  if (n <= 12) return all;
  const auto turn = static_cast<size_t>(n % 3);
  return {all[turn + 1], n % 8 == 0 ? all[6] : all[turn + 2]};
}

void prove_all_reduce(Make make) {
  for (int n = 1; n <= 64; ++n) {
    for (const int64_t elements : border_counts(n)) {
      const auto ranks = test::on_all_ranks(
          n, [&](Position at) { return make({.at = at, .element_count = elements, .segment_elements = kSegment}); });
      const Status status = check({.ranks = ranks});
      ASSERT_TRUE(status.ok()) << n << " ranks, " << elements << " elements: " << status.text();
    }
  }
}

TEST(Checker, ProvesTheRingForUpTo64Ranks) { prove_all_reduce(ring_all_reduce); }

TEST(Checker, ProvesPushForUpTo64Ranks) { prove_all_reduce(push_all_reduce); }

TEST(Checker, ProvesTheAllGatherForUpTo64Ranks) {
  for (int n = 1; n <= 64; ++n) {
    for (const int64_t block : {int64_t{0}, int64_t{1}, kSegment + 1, int64_t{31}}) {
      if (n > 12 && block != 1 && n % 16 != 0) continue;
      if (n > 16 && block == 31) continue;
      const auto ranks = test::on_all_ranks(n, [&](Position at) {
        return ring_all_gather({.at = at, .element_count = block * n, .segment_elements = kSegment});
      });
      const Status status = check({.ranks = ranks});
      ASSERT_TRUE(status.ok()) << n << " ranks, blocks of " << block << ": " << status.text();
    }
  }
}

TEST(Checker, ProvesTheBroadcastForUpTo64Ranks) {
  for (int n = 1; n <= 64; ++n) {
    for (const int64_t elements : {0, 1, 3, 4, n <= 12 ? 31 : 7}) {
      for (const int root : std::set<int>{0, n / 2, n - 1}) {
        const auto ranks = test::on_all_ranks(n, [&](Position at) {
          return chain_broadcast({.at = at, .element_count = elements, .segment_elements = kSegment, .root = root});
        });
        const Status status = check({.root = root, .ranks = ranks});
        ASSERT_TRUE(status.ok()) << n << " ranks, root " << root << ": " << status.text();
      }
    }
  }
}

TEST(Checker, ProvesWholeBucketsWithoutLookingAtEveryElement) {
  for (const Make make : {&ring_all_reduce, &push_all_reduce}) {
    const auto ranks =
        test::on_all_ranks(4, [&](Position at) { return make({.at = at, .element_count = (int64_t{25} << 18) + 3}); });
    const Status status = check({.ranks = ranks});
    EXPECT_TRUE(status.ok()) << status.text();
  }
}

// -- wrong ones ------------------------------------------------------------------------------------------------------

std::vector<Schedule> rings(int n, int64_t elements) {
  return test::on_all_ranks(n, [&](Position at) {
    return ring_all_reduce({.at = at, .element_count = elements, .segment_elements = kSegment});
  });
}
std::vector<Schedule> pushes(int n, int64_t elements) {
  return test::on_all_ranks(n, [&](Position at) {
    return push_all_reduce({.at = at, .element_count = elements, .segment_elements = kSegment});
  });
}

/// The `occurrence`th action of `kind`.
std::vector<Action>::iterator find(Schedule& schedule, ActionKind kind, int occurrence = 0) {
  for (auto at = schedule.actions.begin(); at != schedule.actions.end(); ++at) {
    if (at->kind == kind && occurrence-- == 0) return at;
  }
  ADD_FAILURE() << "no such action";
  return schedule.actions.begin();
}

void expect_refused(const std::vector<Schedule>& ranks, int rank, const std::vector<std::string>& words) {
  const Status status = check({.ranks = ranks});
  ASSERT_EQ(status.code(), Code::kInvalidArgument) << "a wrong schedule passed";
  EXPECT_EQ(status.where().rank, rank) << status.text();
  for (const std::string& word : words) EXPECT_NE(status.message().find(word), std::string::npos) << status.text();
}

TEST(CheckerRefuses, HopAfterHopWithMoreSegmentsThanSlots) {
  const auto by_hop = [](const Action& a, const Action& b) {
    return std::pair(a.hop, a.kind != ActionKind::kSend) < std::pair(b.hop, b.kind != ActionKind::kSend);
  };
  const auto hop_major = [&](int segments) {
    auto ranks = rings(4, 4 * kSegment * segments);
    for (Schedule& schedule : ranks) std::ranges::stable_sort(schedule.actions, by_hop);
    return ranks;
  };
  EXPECT_TRUE(check({.ranks = hop_major(4)}).ok());
  expect_refused(hop_major(5), 0,
                 {"deadlock with 4 slots", "rank 0, action 4 (send, peer 1, hop 0, segment 4)", "rank 3"});
}

TEST(CheckerRefuses, LanesThatHaveTooFewSlots) {
  auto ranks = rings(4, 4 * kSegment * 8);
  for (Schedule& schedule : ranks) schedule.slots = 3;
  expect_refused(ranks, 0, {"deadlock with 3 slots", "rank 0, action 3 (send"});
}

TEST(CheckerRefuses, AContributionThatIsAddedTwice) {
  auto ranks = pushes(4, 8);
  find(ranks[3], ActionKind::kReduce)->from[0] = find(ranks[3], ActionKind::kReduce)->from[1];
  expect_refused(ranks, 3, {"rank 3, action 6 (reduce", "contribution of rank 1 a second time"});
}

TEST(CheckerRefuses, AReduceThatIsLeftOut) {
  auto ranks = rings(4, 4);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kReduce));
  expect_refused(ranks, 0, {"rank 0, action", "(reduce", "final before rank 1 was added"});
}

TEST(CheckerRefuses, OperandsThatAreSwappedOnOneRank) {
  auto ranks = rings(4, 4);
  auto& operands = find(ranks[2], ActionKind::kReduce, 1)->from;
  std::swap(operands[0], operands[1]);
  expect_refused(ranks, 0, {"not summed in the declared order \"by chunk\""});
}

TEST(CheckerRefuses, ATreeThatIsNotTheCanonicalOne) {
  auto ranks = pushes(4, 4);
  for (Schedule& schedule : ranks) schedule.order = Order::kLinear;
  expect_refused(ranks, 0, {"not summed in the declared order \"linear\""});
}

TEST(CheckerRefuses, AMessageThatIsTooShort) {
  auto ranks = rings(4, 8);
  --find(ranks[1], ActionKind::kSend, 1)->from[0].range.end;
  expect_refused(ranks, 2,
                 {"rank 2, action 4 (receive, peer 1", "takes 2 elements", "rank 1, action 3 (send", "brings 1"});
}

TEST(CheckerRefuses, AReceiveThatNobodyServes) {
  auto ranks = rings(3, 3);
  ranks[1].actions.push_back(*find(ranks[1], ActionKind::kReceive));
  expect_refused(ranks, 1, {"waits for ever", "rank 0 has finished without sending"});
}

TEST(CheckerRefuses, AMessageThatNobodyReceives) {
  auto ranks = rings(3, 3);
  ranks[1].actions.push_back(*find(ranks[1], ActionKind::kSend));
  expect_refused(ranks, 1, {"(send, peer 2", "nobody receives this message"});
}

TEST(CheckerRefuses, AWaitThatIsLeftOutBeforeTheSum) {
  auto ranks = pushes(4, 8);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kWait, 1));  // for rank 1
  expect_refused(ranks, 2, {"rank 2, action", "data [4, 6) of rank 1", "before it starts", "missing"});
}

TEST(CheckerRefuses, AWaitThatIsLeftOutBeforeLeaving) {
  auto ranks = pushes(4, 8);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kWait, 4));  // the second wait for rank 1
  expect_refused(ranks, 1, {"rank 1, action", "to rank 2, which may have left"});
}

TEST(CheckerRefuses, ASignalThatIsNeverRaised) {
  auto ranks = pushes(3, 8);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kSignal, 2));  // the second one at rank 0
  expect_refused(ranks, 0,
                 {"rank 0, action", "(wait, peer 2", "waits for ever", "rank 2 has finished without this signal"});
}

TEST(CheckerRefuses, ASignalThatDoesNotRise) {
  auto ranks = pushes(3, 8);
  find(ranks[2], ActionKind::kSignal, 2)->value = 1;
  expect_refused(ranks, 2, {"does not raise its signal: it is 1 already"});
}

TEST(CheckerRefuses, AResultThatIsNeverFinal) {
  auto ranks = rings(4, 4);
  find(ranks[1], ActionKind::kReduce, 2)->finality = Finality::kPartial;
  expect_refused(ranks, 0, {"element 2 ends without being final"});
}

TEST(CheckerRefuses, AResultThatIsFinalTwice) {
  auto ranks = rings(4, 4);
  const auto last = find(ranks[1], ActionKind::kReduce, 2);
  ranks[1].actions.insert(last + 1, Action{.kind = ActionKind::kScale, .to = last->to});
  expect_refused(ranks, 1, {"rank 1, action", "makes data [2, 3) of rank 1 final a second time"});
}

TEST(CheckerRefuses, ARangeThatIsOverwrittenUnderASend) {
  auto ranks = test::on_all_ranks(
      3, [](Position at) { return chain_broadcast({.at = at, .element_count = 6, .segment_elements = kSegment}); });
  const auto data = [](Range range) { return Place{.rank = 0, .space = Space::kData, .range = range}; };
  ranks[0].actions.insert(ranks[0].actions.begin() + 1,
                          Action{.kind = ActionKind::kCopy, .from = {data({3, 6})}, .to = {data({0, 3})}});
  expect_refused(
      ranks, 0,
      {"rank 0, action 1 (copy", "overwrites data [0, 3)", "rank 0, action 0 (send, peer 1", "may not have received"});
}

TEST(CheckerRefuses, ScratchThatIsUsedAgainTooEarly) {
  auto ranks = test::on_all_ranks(
      3, [](Position at) { return chain_broadcast({.at = at, .element_count = 6, .segment_elements = kSegment}); });
  Schedule& middle = ranks[1];
  middle.scratch_elements = kSegment;
  const Place scratch{.rank = 1, .space = Space::kScratch, .range = {0, kSegment}};
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

TEST(CheckerRefuses, ScratchThatWasNeverWritten) {
  auto ranks = rings(3, 3);
  ranks[0].scratch_elements = 9;
  find(ranks[0], ActionKind::kReduce)->from[0].range = {5, 6};
  expect_refused(ranks, 0, {"rank 0, action 2 (reduce", "element 5 was never written"});
}

TEST(CheckerRefuses, APlaceOutOfRange) {
  auto ranks = rings(3, 3);
  find(ranks[1], ActionKind::kSend)->from[0].range = {3, 4};
  expect_refused(ranks, 1, {"rank 1, action 0 (send", "data [3, 4) of rank 1", "there are 3 elements"});
}

TEST(CheckerRefuses, TheWrongPeer) {
  auto ranks = rings(4, 4);
  find(ranks[1], ActionKind::kSend)->peer = 3;
  expect_refused(ranks, 1, {"rank 1, action 0 (send, peer 3", "wrong peer"});
  find(ranks[1], ActionKind::kSend)->peer = 4;
  expect_refused(ranks, 1, {"wrong peer 4 of 4 ranks"});
}

TEST(CheckerRefuses, PeersThatDoNotNameOneAnother) {
  auto ranks = rings(4, 0);
  ranks[2].receives_from = {};
  expect_refused(ranks, 1, {"sends_to names rank 2, whose receives_from does not name it"});
}

TEST(CheckerRefuses, ElementsThatEndInTheWrongPlace) {
  auto ranks = test::on_all_ranks(
      2, [](Position at) { return chain_broadcast({.at = at, .element_count = 6, .segment_elements = kSegment}); });
  std::swap(ranks[0].actions[0], ranks[0].actions[1]);
  expect_refused(ranks, 1, {"rank 1, action 0 (receive", "element 0 ends as element 3"});
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

TEST(CheckerRefuses, ResultsThatDifferBetweenRanks) {
  EXPECT_TRUE(check({.ranks = everyone_sums(false, Order::kLinear)}).ok());
  expect_refused(everyone_sums(true, Order::kByChunk), 1, {"rank 1, action 5 (copy", "other bits than on rank 0"});
}

TEST(CheckerRefuses, AStoreWhileAPeerStillReads) {
  auto ranks = everyone_sums(false, Order::kLinear);
  ranks[0].actions.erase(ranks[0].actions.begin() + 4);
  expect_refused(ranks, 0, {"rank 0, action 4 (copy", "rank 1, action 2 (reduce", "may still read it"});
}

}  // namespace
}  // namespace rondo::comm
