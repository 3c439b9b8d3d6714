/// Random shapes of all algorithms, and random mistakes made in them. A failure prints the case, shrunk, and its seed.
#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "rondo/comm/schedule_check.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

using test::Case;

int between(int low, int high) { return *rc::gen::inRange(low, high + 1); }

Case any_case() {
  const auto all = algorithms();
  const Algorithm& algorithm = all[static_cast<size_t>(between(0, static_cast<int>(all.size()) - 1))];
  Case c{.goal = algorithm.goals[static_cast<size_t>(between(0, static_cast<int>(algorithm.goals.size()) - 1))],
         .algorithm = std::string(algorithm.name),
         .n = between(1, 13)};
  c.elements = between(0, 200);
  c.segment = between(1, 20);
  c.root = between(0, c.n - 1);
  const bool sums = c.goal == Goal::kAllReduce || c.goal == Goal::kReduceScatter;
  if (sums && algorithm.narrowest == Wire::kNarrow && between(0, 1) == 1) c.wire = Wire::kNarrow;
  if (c.algorithm == "hierarchical") {
    for (int rank = 0; rank < c.n; ++rank) c.host_of_rank.push_back(between(0, 3));
  }
  return c;
}

Result<Proof> check(const Case& c, const std::vector<Schedule>& ranks) {
  return check_schedules({.root = c.root, .host_of_rank = c.host_of_rank, .ranks = ranks});
}

RC_GTEST_PROP(AnySchedule, IsProvenAndGivesTheClosedForm, ()) {
  const Case c = any_case();
  const auto ranks = test::schedules_of(c);
  const auto proof = check(c, ranks);
  if (!proof.ok()) RC_FAIL(test::text(c) + ": " + proof.status().text());
  const auto seed = static_cast<uint32_t>(between(1, 1 << 20));
  const auto right = test::gives_closed_form(c, ranks, seed);
  if (!right) RC_FAIL(right.message());
}

enum class Mistake { kDrop, kRepeat, kSwap, kShift, kShrink, kOtherPeer, kOtherFinality, kOtherSpace, kOtherValue };
constexpr int kMistakes = 9;

/// What was done, in words; empty where the action has nothing to get wrong in this way.
std::string make(Mistake mistake, std::vector<Action>& actions, size_t index) {
  Action& action = actions[index];
  const std::string words = std::string(name(action.kind)) + " " + std::to_string(index);
  auto& places = action.to.empty() || (!action.from.empty() && between(0, 1) == 0) ? action.from : action.to;
  const auto any_place = [&]() -> Place& {
    return places[static_cast<size_t>(between(0, static_cast<int>(places.size()) - 1))];
  };
  const auto at = actions.begin() + static_cast<ptrdiff_t>(index);
  switch (mistake) {
    case Mistake::kDrop:
      actions.erase(at);
      return "dropped " + words;
    case Mistake::kRepeat:
      actions.insert(at, Action(action));
      return "repeated " + words;
    case Mistake::kSwap:
      if (index + 1 == actions.size() || actions[index] == actions[index + 1]) return "";
      std::swap(actions[index], actions[index + 1]);
      return "swapped " + words + " and " + std::string(name(actions[index].kind));
    case Mistake::kShift: {
      if (places.empty()) return "";
      Range& range = any_place().range;
      const int by = between(0, 1) == 0 ? -1 : 1;
      range = {range.begin + by, range.end + by};
      return "shifted a range of " + words;
    }
    case Mistake::kShrink:
      if (places.empty()) return "";
      --any_place().range.end;
      return "shrank a range of " + words;
    case Mistake::kOtherPeer:
      if (action.peer < 0) return "";
      action.peer += between(0, 1) == 0 ? -1 : 1;
      return "changed the peer of " + words;
    case Mistake::kOtherFinality:
      if (action.kind != ActionKind::kReduce) return "";
      action.finality = action.finality == Finality::kFinal ? Finality::kPartial : Finality::kFinal;
      return "changed the finality of " + words;
    case Mistake::kOtherSpace: {
      if (places.empty()) return "";
      Place& place = any_place();
      place.space = place.space == Space::kData ? Space::kScratch : Space::kData;
      return "changed the space of " + words;
    }
    case Mistake::kOtherValue:
      if (action.value == 0) return "";
      action.value += between(0, 1) == 0 ? -1 : 1;
      return "changed the value of " + words;
  }
  return "";
}

/// Mistakes that can never be harmless: every element that moves is needed, where it is and once.
bool must_be_refused(Mistake mistake, ActionKind kind) {
  const bool synchronises = kind == ActionKind::kSignal || kind == ActionKind::kWait;
  switch (mistake) {
    case Mistake::kDrop:
    case Mistake::kShift:
    case Mistake::kShrink:
    case Mistake::kOtherFinality:
      return !synchronises;
    case Mistake::kOtherPeer:
      return kind == ActionKind::kSend || kind == ActionKind::kReceive;
    case Mistake::kRepeat:
      return kind != ActionKind::kWait && kind != ActionKind::kCopy && kind != ActionKind::kReduce;
    case Mistake::kSwap:
    case Mistake::kOtherSpace:
    case Mistake::kOtherValue:
      return false;
  }
  return false;
}

RC_GTEST_PROP(AnyMistake, IsRefusedOrHarmless, ()) {
  const Case c = any_case();
  const auto right = test::schedules_of(c);
  for (int round = 0; round < 20; ++round) {
    auto ranks = right;
    const int rank = between(0, c.n - 1);
    auto& actions = ranks[static_cast<size_t>(rank)].actions;
    if (actions.empty()) continue;
    const auto index = static_cast<size_t>(between(0, static_cast<int>(actions.size()) - 1));
    const auto mistake = static_cast<Mistake>(between(0, kMistakes - 1));
    const ActionKind kind = actions[index].kind;
    const std::string done = make(mistake, actions, index);
    if (done.empty()) continue;
    const std::string words = test::text(c) + ", rank " + std::to_string(rank) + ": " + done;
    const auto proof = check(c, ranks);
    if (!proof.ok()) {
      const Where& where = proof.status().where();
      if (where.rank < 0 || where.rank >= c.n) RC_FAIL(words + ": refused without a rank: " + proof.status().text());
      continue;
    }
    if (must_be_refused(mistake, kind)) RC_FAIL(words + ": passed");
    for (uint32_t seed = 1; seed <= 5; ++seed) {
      const auto harmless = test::gives_closed_form(c, ranks, seed);
      if (!harmless) RC_FAIL(words + ": passed, but " + harmless.message());
    }
  }
}

}  // namespace
}  // namespace rondo::comm
