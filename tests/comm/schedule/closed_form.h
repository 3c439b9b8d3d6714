/// What every rank must hold at the end, as a formula, and a comparison with what playing the schedules gives. The sum
/// is not associative, so the values tell how the operands were nested.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rondo/comm/algorithms.h"
#include "tests/comm/schedule/play.h"

namespace rondo::comm::test {

/// One collective over all ranks.
struct Case {
  Goal goal = Goal::kAllReduce;
  std::string algorithm;
  int n = 1;
  int64_t elements = 0;
  int64_t segment = 3;
  Wire wire = Wire::kSame;
  std::vector<int> host_of_rank = {};
  int root = 0;
};

inline std::string text(const Case& c) {
  std::string words = c.algorithm + " " + std::string(name(c.goal)) + ", " + std::to_string(c.n) + " ranks, " +
                      std::to_string(c.elements) + " elements, segment " + std::to_string(c.segment) + ", wire " +
                      std::string(name(c.wire)) + ", root " + std::to_string(c.root) + ", hosts";
  for (const int host : c.host_of_rank) words += " " + std::to_string(host);
  return words;
}

inline ScheduleQuery query_of(const Case& c, int rank) {
  return {.goal = c.goal,
          .algorithm = c.algorithm,
          .shape = {.at = {.rank = rank, .world_size = c.n},
                    .element_count = c.elements,
                    .segment_elements = c.segment,
                    .wire = c.wire,
                    .root = c.root,
                    .host_of_rank = c.host_of_rank}};
}

/// The schedules of all ranks; a refusal fails the test.
inline std::vector<Schedule> schedules_of(const Case& c) {
  std::vector<Schedule> ranks;
  for (int rank = 0; rank < c.n; ++rank) {
    auto schedule = make_schedule(query_of(c, rank));
    EXPECT_TRUE(schedule.ok()) << text(c) << ": " << schedule.status().text();
    if (schedule.ok()) ranks.push_back(std::move(*schedule));
  }
  return ranks;
}

inline double pair_up(double a, double b) { return a * 0.75 + b * 0.5; }

inline double contribution(int rank, int64_t index) { return (rank + 1) * 1024.0 + static_cast<double>(index % 97); }

/// The rank whose chunk holds element `index`: the first elements % n chunks are one longer.
inline int chunk_at(const Case& c, int64_t index) {
  const int64_t length = c.elements / c.n;
  const int64_t longer = c.elements % c.n;
  if (index < longer * (length + 1)) return static_cast<int>(index / (length + 1));
  return static_cast<int>(longer + (index - longer * (length + 1)) / length);
}
inline int64_t first_of_chunk(const Case& c, int chunk) {
  return chunk * (c.elements / c.n) + std::min<int64_t>(chunk, c.elements % c.n);
}

/// The sum over all ranks in `order`, divided by their number.
inline double reduced(const Case& c, Order order, int64_t index) {
  const auto operand = [&](int rank) {
    return c.wire == Wire::kNarrow ? narrowed(contribution(rank, index)) : contribution(rank, index);
  };
  const auto tree_over = [&](const Values& operands) {
    return canonical_tree(0, static_cast<int>(operands.size()), pair_up,
                          [&](int i) { return operands[static_cast<size_t>(i)]; });
  };
  Values operands;
  for (int rank = 0; rank < c.n; ++rank) operands.push_back(operand(rank));
  double sum = 0;
  switch (order) {
    case Order::kNone:
      ADD_FAILURE() << text(c) << ": a reduction needs an order";
      break;
    case Order::kCanonical:
      sum = tree_over(operands);
      break;
    case Order::kLinear:
    case Order::kByChunk: {
      // Of all-reduce chunk c starts at rank c, of reduce-scatter one later, so that it ends at rank c.
      const int shift = c.goal == Goal::kReduceScatter ? 1 : 0;
      const int first = order == Order::kLinear ? 0 : (chunk_at(c, index) + shift) % c.n;
      sum = operand(first);
      for (int step = 1; step < c.n; ++step) sum = pair_up(sum, operand((first + step) % c.n));
      break;
    }
    case Order::kFolded: {
      const int groups = static_cast<int>(std::bit_floor(static_cast<unsigned>(c.n)));
      Values folded;
      for (int rank = 0; rank < c.n;) {
        const bool pair = rank < 2 * (c.n - groups);
        folded.push_back(pair ? pair_up(operand(rank), operand(rank + 1)) : operand(rank));
        rank += pair ? 2 : 1;
      }
      sum = tree_over(folded);
      break;
    }
    case Order::kByHost: {
      std::vector<std::pair<int, Values>> hosts;  // in the order of their lowest rank
      for (int rank = 0; rank < c.n; ++rank) {
        const int host = c.host_of_rank[static_cast<size_t>(rank)];
        auto found = std::ranges::find(hosts, host, &std::pair<int, Values>::first);
        if (found == hosts.end()) found = hosts.insert(found, {host, {}});
        found->second.push_back(operand(rank));
      }
      Values of_hosts;
      for (const auto& [host, values] : hosts) of_hosts.push_back(tree_over(values));
      sum = tree_over(of_hosts);
      break;
    }
  }
  return c.wire == Wire::kNarrow ? narrowed(sum / c.n) : sum / c.n;
}

/// What rank `rank` starts with.
inline Values input_of(const Case& c, int rank) {
  Values values;
  for (int64_t i = 0; i < c.elements; ++i) {
    const bool has = c.goal == Goal::kAllGather ? chunk_at(c, i) == rank : c.goal != Goal::kBroadcast || rank == c.root;
    values.push_back(has ? contribution(rank, i) : -1e9);
  }
  return values;
}

/// The element that rank `rank` must hold at `index` of its data in the end.
inline double expected(const Case& c, Order order, int rank, int64_t index) {
  switch (c.goal) {
    case Goal::kAllReduce:
      return reduced(c, order, index);
    case Goal::kReduceScatter:
      return contribution(rank, index);
    case Goal::kAllGather:
      return contribution(chunk_at(c, index), index);
    case Goal::kBroadcast:
      return contribution(c.root, index);
  }
  return 0;
}

/// Plays `ranks`, drawn by `seed`, and compares every element of every rank with the formula.
inline testing::AssertionResult gives_closed_form(const Case& c, const std::vector<Schedule>& ranks, uint32_t seed) {
  std::vector<Values> data;
  for (int rank = 0; rank < c.n; ++rank) data.push_back(input_of(c, rank));
  const Outcome outcome = play(ranks, data, pair_up, seed);
  const auto wrong = [&] { return testing::AssertionFailure() << text(c) << ", seed " << seed << ": "; };
  if (!outcome.finished) return wrong() << "the ranks waited for one another for ever";
  const Order order = ranks[0].order;
  const auto differs = [&](int rank, int64_t index, double got, double wanted) {
    return wrong() << "rank " << rank << " holds " << got << " at " << index << ", not " << wanted << ", order "
                   << name(order);
  };
  for (int rank = 0; rank < c.n; ++rank) {
    const Values& got = outcome.data[static_cast<size_t>(rank)];
    for (int64_t i = 0; i < c.elements; ++i) {
      const double wanted = expected(c, order, rank, i);
      if (got[static_cast<size_t>(i)] != wanted) return differs(rank, i, got[static_cast<size_t>(i)], wanted);
    }
    if (c.goal != Goal::kReduceScatter) continue;
    const Values& result = outcome.result[static_cast<size_t>(rank)];
    const int64_t first = first_of_chunk(c, rank);
    if (static_cast<int64_t>(result.size()) != first_of_chunk(c, rank + 1) - first) {
      return wrong() << "rank " << rank << " has a result of " << result.size() << " elements";
    }
    for (size_t i = 0; i < result.size(); ++i) {
      const int64_t index = first + static_cast<int64_t>(i);
      const double wanted = reduced(c, order, index);
      if (result[i] != wanted) return differs(rank, index, result[i], wanted);
    }
  }
  return testing::AssertionSuccess();
}

/// The same over border sizes, several interleavings each.
inline void expect_closed_form(Case c, const std::vector<int>& world_sizes) {
  for (const int n : world_sizes) {
    for (const int64_t elements : {0, 1, n - 1, n, n + 1, 97, 3 * n + 1, 9 * n * 3 + 1}) {
      c.n = n;
      c.elements = elements;
      const auto ranks = schedules_of(c);
      for (uint32_t seed = 1; seed <= 3; ++seed) ASSERT_TRUE(gives_closed_form(c, ranks, seed));
    }
  }
}

/// Elements in all messages that `schedule` sends.
inline int64_t elements_sent(const Schedule& schedule) {
  int64_t sent = 0;
  for (const Action& action : schedule.actions) {
    if (action.kind == ActionKind::kSend) sent += action.from[0].range.count();
  }
  return sent;
}
/// The peers of all actions of a kind, ascending; descriptors go to more, see Note [Descriptors go round].
inline std::vector<int> peers_of(const Schedule& schedule, ActionKind kind) {
  std::set<int> peers;
  for (const Action& action : schedule.actions) {
    if (action.kind == kind) peers.insert(action.peer);
  }
  return {peers.begin(), peers.end()};
}
inline int count_of(const Schedule& schedule, ActionKind kind) {
  return static_cast<int>(std::ranges::count(schedule.actions, kind, &Action::kind));
}

}  // namespace rondo::comm::test
