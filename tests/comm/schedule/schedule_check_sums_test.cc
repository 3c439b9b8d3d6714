/// Seeded wrong schedules: what is summed, in which order, when it is final, and what a narrow wire asks for.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/comm/schedule/wrong.h"

namespace rondo::comm {
namespace {

using test::directs;
using test::expect_refused;
using test::find;
using test::pushes;
using test::rings;

// -- sums ------------------------------------------------------------------------------------------------------------

TEST(CheckRefuses, AContributionThatIsAddedTwice) {
  auto ranks = pushes(4, 8);
  find(ranks[3], ActionKind::kReduce)->from[0] = find(ranks[3], ActionKind::kReduce)->from[1];
  expect_refused(ranks, 3, {"rank 3, action 6 (reduce", "contribution of rank 1 a second time"});
}

TEST(CheckRefuses, AReduceThatIsLeftOut) {
  auto ranks = rings(4, 4);
  ranks[2].actions.erase(find(ranks[2], ActionKind::kReduce));
  expect_refused(ranks, 0, {"rank 0, action", "(reduce", "final before rank 1 was added"});
}

TEST(CheckRefuses, OperandsThatAreSwappedOnOneRank) {
  auto ranks = rings(4, 4);
  auto& operands = find(ranks[2], ActionKind::kReduce, 1)->from;
  std::swap(operands[0], operands[1]);
  expect_refused(ranks, 3, {"rank 3, action 8 (reduce", "element 0 is not summed in the declared order \"by chunk\""});
}

TEST(CheckRefuses, AnOperandOfTheListInTheWrongPlace) {
  auto ranks = directs(4, 8);
  auto& operands = find(ranks[2], ActionKind::kReduce)->from;
  std::swap(operands[1], operands[2]);  // (0 + 2) + (1 + 3)
  expect_refused(ranks, 2, {"not summed in the declared order \"canonical\""});
}

TEST(CheckRefuses, ALeftFoldThatIsCalledCanonical) {
  auto ranks = test::schedules_of({.algorithm = "chain", .n = 4, .elements = 4});
  EXPECT_TRUE(check_schedules({.ranks = ranks}).ok());
  for (Schedule& schedule : ranks) schedule.order = Order::kCanonical;
  expect_refused(ranks, 3, {"rank 3, action 1 (reduce", "not summed in the declared order \"canonical\""});
}

TEST(CheckRefuses, ATreeThatIsCalledLinear) {
  auto ranks = pushes(4, 4);
  for (Schedule& schedule : ranks) schedule.order = Order::kLinear;
  expect_refused(ranks, 3, {"rank 3, action 6 (reduce", "not summed in the declared order \"linear\""});
}

TEST(CheckRefuses, AFoldedTreeThatIsCalledCanonical) {
  auto ranks = test::schedules_of({.algorithm = "halving", .n = 5, .elements = 10});
  EXPECT_TRUE(check_schedules({.ranks = ranks}).ok());
  for (Schedule& schedule : ranks) schedule.order = Order::kCanonical;
  expect_refused(ranks, 2, {"rank 2, action 11 (reduce", "not summed in the declared order \"canonical\""});
}

TEST(CheckRefuses, ATreeOverOtherHosts) {
  const std::vector<int> in_turn{0, 1, 0, 1};
  const auto ranks = test::schedules_of({.algorithm = "hierarchical", .n = 4, .elements = 8, .host_of_rank = in_turn});
  EXPECT_TRUE(check_schedules({.host_of_rank = in_turn, .ranks = ranks}).ok());
  const auto proof = check_schedules({.host_of_rank = {0, 0, 1, 1}, .ranks = ranks});
  EXPECT_NE(proof.status().message().find("declared order \"by host\""), std::string::npos) << proof.status().text();
}

TEST(CheckRefuses, ElementsOfDifferentIndexAddedToOneAnother) {
  auto ranks = pushes(2, 12);
  find(ranks[0], ActionKind::kReduce)->from[1].range = {3, 6};
  find(ranks[0], ActionKind::kReduce)->to.pop_back();
  expect_refused(ranks, 0, {"(reduce", "adds element 3 to element 0"});
}

TEST(CheckRefuses, AnOrderWhereNothingIsSummed) {
  auto ranks = pushes(2, 4);
  for (Schedule& schedule : ranks) schedule.order = Order::kNone;
  expect_refused(ranks, 1, {"rank 1, action 2 (reduce", "not summed in the declared order \"none\""});
}

// -- finality --------------------------------------------------------------------------------------------------------

TEST(CheckRefuses, AResultThatIsNeverFinal) {
  auto ranks = rings(4, 4);
  find(ranks[1], ActionKind::kReduce, 2)->finality = Finality::kPartial;
  expect_refused(ranks, 0, {"element 2 ends without being final"});
}

TEST(CheckRefuses, AResultThatIsFinalTwice) {
  auto ranks = rings(4, 4);
  const auto last = find(ranks[1], ActionKind::kReduce, 2);
  const std::vector<Place> to = last->to;
  ranks[1].actions.insert(last + 1, Action{.kind = ActionKind::kScale, .hop = 2, .to = to});
  expect_refused(ranks, 1, {"rank 1, action", "makes data [2, 3) of rank 1 final a second time"});
}

TEST(CheckRefuses, APartialSumThatIsFinal) {
  auto ranks = rings(4, 4);
  find(ranks[1], ActionKind::kReduce, 0)->finality = Finality::kFinal;
  expect_refused(ranks, 1, {"(reduce", "final before rank 2 was added"});
}

TEST(CheckRefuses, AFinalResultThatIsAddedToAnother) {
  auto ranks = directs(2, 2);
  Action again = *find(ranks[0], ActionKind::kReduce);
  again.from[1] = {.rank = 0, .space = Space::kScratch, .range = {0, 1}};
  ranks[0].actions.push_back(again);
  expect_refused(ranks, 0, {"(reduce", "adds a value that is final already"});
}

TEST(CheckRefuses, ABroadcastThatDivides) {
  auto ranks = test::chains(1, 3);
  ranks[0].actions.push_back({.kind = ActionKind::kScale, .to = {{.rank = 0, .space = Space::kData, .range = {0, 3}}}});
  expect_refused(ranks, 0, {"rank 0, action 0 (scale", "not summed in the declared order \"none\""});
}

// -- the wire --------------------------------------------------------------------------------------------------------

/// Rank 0 of two ranks sums in its data's type what arrived in wire memory, and only then rounds; `own` is how it takes
/// its own operand.
enum class Own { kRounded, kAsItIs };
std::vector<Schedule> summed_apart(Own own) {
  auto ranks = directs(2, 2, Wire::kNarrow);
  Schedule& self = ranks[0];
  self.scratch_elements = 3;
  const auto scratch = [](int64_t at) { return Place{.rank = 0, .space = Space::kScratch, .range = {at, at + 1}}; };
  auto reduce = find(self, ActionKind::kReduce);
  const std::vector<Place> arrived = reduce->from;
  const Place rounded = reduce->to[0];
  reduce->from = {own == Own::kRounded ? scratch(0) : Place{.rank = 0, .space = Space::kData, .range = {0, 1}},
                  scratch(1)};
  reduce->to = {scratch(2)};
  reduce = self.actions.insert(reduce + 1, {.kind = ActionKind::kCopy, .from = {scratch(2)}, .to = {rounded}}) - 1;
  for (const int64_t i : {0, 1}) {
    reduce = self.actions.insert(
        reduce, {.kind = ActionKind::kCopy, .from = {arrived[static_cast<size_t>(i)]}, .to = {scratch(i)}});
  }
  return ranks;
}

TEST(CheckRefuses, AnOperandThatDidNotPassThroughTheWireType) {
  EXPECT_TRUE(check_schedules({.ranks = summed_apart(Own::kRounded)}).ok());
  expect_refused(summed_apart(Own::kAsItIs), 0,
                 {"(reduce", "element 0 holds the operand of rank 0 as it was, not rounded to the wire type"});
}

TEST(CheckRefuses, AnOwnerThatDoesNotWidenTheBytesThatAllOthersGet) {
  auto ranks = summed_apart(Own::kRounded);
  const Place sum = find(ranks[0], ActionKind::kReduce)->to[0];
  Action& widens = *std::ranges::find_if(ranks[0].actions, [](const Action& action) {
    return action.kind == ActionKind::kCopy && action.to[0].space == Space::kData && action.to[0].range.begin == 0;
  });
  widens.from[0] = sum;
  expect_refused(ranks, 0, {"(copy", "element 0 ends without having been rounded to the wire type"});
}

TEST(CheckRefuses, APartialSumThatIsRounded) {
  auto ranks = directs(4, 8, Wire::kNarrow);
  // Rank 0 sums in two steps, the first of them into wire memory.
  const auto reduce = find(ranks[0], ActionKind::kReduce);
  Action first = *reduce;
  first.from = {reduce->from[0], reduce->from[1]};
  first.to = {reduce->from[1]};
  first.finality = Finality::kPartial;
  Action second = first;
  second.from = {reduce->from[2], reduce->from[3]};
  second.to = {reduce->from[3]};
  reduce->from = {first.to[0], second.to[0]};
  ranks[0].actions.insert(reduce, {first, second});
  expect_refused(ranks, 0,
                 {"rank 0, action 12 (reduce", "element 0 is not summed in the declared order \"canonical\""});
}

TEST(CheckRefuses, AWireMessageThatArrivesAsData) {
  auto ranks = directs(2, 2, Wire::kNarrow);
  ranks[0].scratch_elements = 1;
  find(ranks[0], ActionKind::kReceive)->to[0] = {.rank = 0, .space = Space::kScratch, .range = {0, 1}};
  expect_refused(ranks, 0, {"(receive, peer 1", "takes elements of the data's type", "brings the wire type"});
}

TEST(CheckRefuses, AScaleOfWireMemory) {
  auto ranks = test::schedules_of({.algorithm = "direct", .n = 1, .elements = 2, .wire = Wire::kNarrow});
  EXPECT_TRUE(check_schedules({.ranks = ranks}).ok());
  find(ranks[0], ActionKind::kScale)->to[0].space = Space::kWire;
  expect_refused(ranks, 0, {"rank 0, action 2 (scale", "has the wire type"});
}

TEST(CheckRefuses, AReduceOfDifferentElementTypes) {
  auto ranks = directs(2, 2, Wire::kNarrow);
  find(ranks[0], ActionKind::kReduce)->to.push_back({.rank = 0, .space = Space::kData, .range = {0, 1}});
  expect_refused(ranks, 0, {"(reduce", "mixes data [0, 1) of rank 0 and wire", "different element types"});
  ranks = test::schedules_of({.algorithm = "one-shot", .n = 3, .elements = 3, .wire = Wire::kNarrow});
  find(ranks[2], ActionKind::kReduce)->from[2] = {.rank = 2, .space = Space::kData, .range = {0, 3}};
  expect_refused(ranks, 2, {"(reduce", "mixes data [0, 3) of rank 2 and wire", "different element types"});
}

// -- results apart from the data -------------------------------------------------------------------------------------

std::vector<Schedule> scatters(const char* algorithm) {
  return test::schedules_of({.goal = Goal::kReduceScatter, .algorithm = algorithm, .n = 3, .elements = 9});
}

TEST(CheckRefuses, AStoreToTheDataOfAReduceScatter) {
  for (const char* algorithm : {"ring", "direct"}) {
    auto ranks = scatters(algorithm);
    const int last = test::count_of(ranks[1], ActionKind::kReduce) - 1;
    find(ranks[1], ActionKind::kReduce, last)->to[0] = {.rank = 1, .space = Space::kData, .range = {3, 6}};
    expect_refused(ranks, 1, {"(reduce", "stores to data [3, 6) of rank 1", "leaves data as it is"});
  }
}

TEST(CheckRefuses, AResultThatIsNotAllThere) {
  auto ranks = scatters("direct");
  ranks[2].actions.erase(find(ranks[2], ActionKind::kReduce));
  expect_refused(ranks, 2, {"rank 2: element 6 is never written"});
}

TEST(CheckRefuses, AResultOfAnotherChunk) {
  auto ranks = scatters("direct");
  auto& reduce = *find(ranks[1], ActionKind::kReduce);
  reduce.from = {reduce.from[1]};
  reduce.from[0].range = {0, 3};
  reduce.finality = Finality::kPartial;
  expect_refused(ranks, 1, {"(reduce", "element 3 ends as element 0"});
}

TEST(CheckRefuses, AResultOfTheWrongSize) {
  auto ranks = scatters("ring");
  ranks[1].result_elements = 4;
  expect_refused(ranks, 1, {"its result has 4 elements where 3 belong"});
  ranks = rings(3, 3);
  ranks[0].result_elements = 1;
  expect_refused(ranks, 0, {"its result has 1 elements where 0 belong"});
}

}  // namespace
}  // namespace rondo::comm
