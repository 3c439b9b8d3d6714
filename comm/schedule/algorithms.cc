#include "rondo/comm/algorithms.h"

#include <algorithm>
#include <array>
#include <string>

#include "comm/schedule/makers.h"

namespace rondo::comm {
namespace {

constexpr std::array kAllReduce{Goal::kAllReduce};
constexpr std::array kBroadcast{Goal::kBroadcast};
constexpr std::array kHalves{Goal::kAllReduce, Goal::kReduceScatter, Goal::kAllGather};
constexpr std::array kAllReduceAndBroadcast{Goal::kAllReduce, Goal::kBroadcast};
constexpr std::array kEverything{Goal::kAllReduce, Goal::kReduceScatter, Goal::kAllGather, Goal::kBroadcast};

constexpr std::array kAlgorithms{
    Algorithm{.name = "ring",
              .summary = "every rank sends to the next one only; the least bytes, two neighbours a rank",
              .goals = kHalves},
    Algorithm{.name = "direct",
              .summary = "slices go straight to their owners and the results straight to all; two hops",
              .narrowest = Wire::kNarrow,
              .goals = kEverything},
    Algorithm{.name = "push",
              .summary = "owners read all ranks' slices, sum, and store to all; shared memory of one host",
              .means = Means::kRegions,
              .goals = kAllReduce},
    Algorithm{.name = "one-shot",
              .summary = "everything to everyone, each sums for itself; one hop, for the smallest buffers",
              .narrowest = Wire::kNarrow,
              .goals = kAllReduce},
    Algorithm{.name = "chain",
              .summary = "along a line of ranks, pipelined; summed from the left whatever the layout",
              .goals = kAllReduceAndBroadcast},
    Algorithm{.name = "halving",
              .summary = "recursive halving and doubling: pairs at distance 1, 2, 4, ...; 2 log2(n) hops",
              .goals = kAllReduce},
    Algorithm{.name = "hierarchical",
              .summary = "inside each host, slices across hosts, inside again; the least bytes between hosts",
              .goals = kAllReduce},
    Algorithm{.name = "parameter-server",
              .summary = "all to rank 0, which sums and sends back; shown for its cost",
              .narrowest = Wire::kNarrow,
              .goals = kAllReduce},
    Algorithm{.name = "tree", .summary = "a binomial tree from the root; log2(n) hops", .goals = kBroadcast},
};

struct Maker {
  std::string_view algorithm;
  Goal goal = Goal::kAllReduce;
  Schedule (*make)(const ScheduleRequest&) = nullptr;
};
constexpr std::array kMakers{
    Maker{"ring", Goal::kAllReduce, ring_all_reduce},
    Maker{"ring", Goal::kReduceScatter, ring_reduce_scatter},
    Maker{"ring", Goal::kAllGather, ring_all_gather},
    Maker{"direct", Goal::kAllReduce, direct_all_reduce},
    Maker{"direct", Goal::kReduceScatter, direct_reduce_scatter},
    Maker{"direct", Goal::kAllGather, direct_all_gather},
    Maker{"direct", Goal::kBroadcast, direct_broadcast},
    Maker{"push", Goal::kAllReduce, push_all_reduce},
    Maker{"one-shot", Goal::kAllReduce, one_shot_all_reduce},
    Maker{"chain", Goal::kAllReduce, chain_all_reduce},
    Maker{"chain", Goal::kBroadcast, chain_broadcast},
    Maker{"halving", Goal::kAllReduce, halving_all_reduce},
    Maker{"hierarchical", Goal::kAllReduce, hierarchical_all_reduce},
    Maker{"parameter-server", Goal::kAllReduce, parameter_server_all_reduce},
    Maker{"tree", Goal::kBroadcast, tree_broadcast},
};

constexpr const Maker* find_maker(std::string_view algorithm, Goal goal) {
  for (const Maker& maker : kMakers) {
    if (maker.algorithm == algorithm && maker.goal == goal) return &maker;
  }
  return nullptr;
}

constexpr bool tables_agree() {
  size_t served = 0;
  for (const Algorithm& algorithm : kAlgorithms) {
    for (const Goal goal : algorithm.goals) {
      if (find_maker(algorithm.name, goal) == nullptr) return false;
      ++served;
    }
  }
  return served == kMakers.size();
}
static_assert(tables_agree());

/// "ring, direct and push".
template <typename Wanted>
std::string names_of(Wanted wanted) {
  std::string text;
  for (const Algorithm& algorithm : kAlgorithms) {
    if (wanted(algorithm)) text += (text.empty() ? "" : ", ") + std::string(algorithm.name);
  }
  if (const size_t last = text.rfind(", "); last != std::string::npos) text.replace(last, 2, " and ");
  return text;
}

Status check_shape(const ScheduleRequest& shape) {
  const auto wrong = [](std::string text) { return Status(Code::kInvalidArgument, std::move(text)); };
  const int n = shape.at.world_size;
  if (n < 1) return wrong("a schedule over " + std::to_string(n) + " ranks: there must be at least 1");
  if (shape.at.rank < 0 || shape.at.rank >= n) {
    return wrong("rank " + std::to_string(shape.at.rank) + " is none of " + std::to_string(n) + " ranks");
  }
  if (shape.element_count < 0 || shape.element_count > kMostElements) {
    return wrong(std::to_string(shape.element_count) + " elements: there may be 0 to 2^40");
  }
  if (shape.segment_elements < 1 || shape.segment_elements > kMostElements) {
    return wrong("segments of " + std::to_string(shape.segment_elements) + " elements: there may be 1 to 2^40");
  }
  if (shape.most_message_elements < 1 || shape.most_message_elements > kMostElements) {
    return wrong("messages of " + std::to_string(shape.most_message_elements) + " elements: there may be 1 to 2^40");
  }
  if (shape.root < 0 || shape.root >= n) {
    return wrong("root " + std::to_string(shape.root) + " is none of " + std::to_string(n) + " ranks");
  }
  if (!shape.host_of_rank.empty() && shape.host_of_rank.size() != static_cast<size_t>(n)) {
    return wrong("hosts of " + std::to_string(shape.host_of_rank.size()) + " ranks are given, but there are " +
                 std::to_string(n));
  }
  return {};
}

Status check_query(const ScheduleQuery& query) {
  RONDO_TRY(check_shape(query.shape));
  const std::string quoted = "\"" + std::string(query.algorithm) + "\"";
  const std::string goal(name(query.goal));
  const auto serves = [&](const Algorithm& algorithm) { return algorithm.serves(query.goal); };
  const Algorithm* algorithm = find_algorithm(query.algorithm);
  if (algorithm == nullptr) {
    return {Code::kInvalidArgument, "unknown algorithm " + quoted + ": for " + goal + " there are " + names_of(serves)};
  }
  if (!serves(*algorithm)) {
    return {Code::kInvalidArgument,
            "algorithm " + quoted + " does not serve " + goal + ": " + names_of(serves) + " would"};
  }
  const bool sums = query.goal == Goal::kAllReduce || query.goal == Goal::kReduceScatter;
  if (query.shape.wire == Wire::kSame) return {};
  if (!sums) return {Code::kUnsupported, goal + " hands elements on as they are: it has no narrow wire"};
  if (algorithm->narrowest == Wire::kNarrow) return {};
  return {Code::kUnsupported,
          "algorithm " + quoted + " has no narrow wire, as only those have whose partial sums never travel: " +
              names_of([&](const Algorithm& other) { return serves(other) && other.narrowest == Wire::kNarrow; })};
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
  RONDO_TRY(check_query(query));
  return find_maker(query.algorithm, query.goal)->make(query.shape);
}

}  // namespace rondo::comm
