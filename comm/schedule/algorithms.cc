#include "rondo/comm/algorithms.h"

#include <algorithm>
#include <array>
#include <string>

#include "comm/schedule/makers.h"

namespace rondo::comm {
namespace {

using Make = Schedule (*)(const ScheduleRequest&);

constexpr std::array kRing{Goal::kAllReduce, Goal::kAllGather};
constexpr std::array kPush{Goal::kAllReduce};
constexpr std::array kChain{Goal::kBroadcast};

constexpr std::array kAlgorithms{
    Algorithm{.name = "ring",
              .summary = "every rank sends to the next one only, chunk by chunk; the least bytes, any number of ranks",
              .goals = kRing},
    Algorithm{.name = "push",
              .summary = "the owner of a slice reads all ranks' memory, sums, and stores to all; for one host",
              .means = Means::kRegions,
              .goals = kPush},
    Algorithm{.name = "chain", .summary = "from rank to rank in a line, pipelined", .goals = kChain},
};

struct Maker {
  std::string_view algorithm;
  Goal goal;
  Make make;
};
constexpr std::array kMakers{
    Maker{"ring", Goal::kAllReduce, ring_all_reduce},
    Maker{"ring", Goal::kAllGather, ring_all_gather},
    Maker{"push", Goal::kAllReduce, push_all_reduce},
    Maker{"chain", Goal::kBroadcast, chain_broadcast},
};

std::string names(Goal goal) {
  std::string text;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (algorithm.serves(goal)) text += (text.empty() ? "" : ", ") + std::string(algorithm.name);
  }
  return text;
}

Status check(const ScheduleQuery& query) {
  const ScheduleRequest& shape = query.shape;
  const auto wrong = [](std::string text) { return Status(Code::kInvalidArgument, std::move(text)); };
  const int n = shape.at.world_size;
  if (n < 1) return wrong("a schedule over " + std::to_string(n) + " ranks: there must be at least 1");
  if (shape.at.rank < 0 || shape.at.rank >= n) {
    return wrong("rank " + std::to_string(shape.at.rank) + " is none of " + std::to_string(n) + " ranks");
  }
  if (shape.element_count < 0 || shape.element_count > kMostElements) {
    return wrong(std::to_string(shape.element_count) + " elements: there may be 0 to 2^40");
  }
  const Algorithm* algorithm = find_algorithm(query.algorithm);
  const std::string quoted = "\"" + std::string(query.algorithm) + "\"";
  const std::string serves = std::string(name(query.goal)) + " has " + names(query.goal);
  if (algorithm == nullptr) return wrong("unknown algorithm " + quoted + ": " + serves);
  if (!algorithm->serves(query.goal)) return wrong("algorithm " + quoted + " does not serve this: " + serves);
  return {};
}

}  // namespace

bool Algorithm::serves(Goal goal) const { return std::ranges::find(goals, goal) != goals.end(); }

std::span<const Algorithm> algorithms() { return kAlgorithms; }

const Algorithm* find_algorithm(std::string_view name) {
  const auto found = std::ranges::find(kAlgorithms, name, &Algorithm::name);
  return found == kAlgorithms.end() ? nullptr : &*found;
}

Result<Order> order_of(const ScheduleQuery& query) {
  ScheduleQuery empty = query;
  empty.shape.element_count = 0;
  const auto schedule = make_schedule(empty);
  RONDO_TRY(schedule);
  return schedule->order;
}

Result<Schedule> make_schedule(const ScheduleQuery& query) {
  RONDO_TRY(check(query));
  for (const Maker& maker : kMakers) {
    if (maker.algorithm == query.algorithm && maker.goal == query.goal) return maker.make(query.shape);
  }
  return Status(Code::kUnsupported, "no schedule of \"" + std::string(query.algorithm) + "\" is built");
}

}  // namespace rondo::comm
