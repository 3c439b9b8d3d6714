/// Plays the schedules of all ranks on real numbers in one thread: a second opinion beside the checker, which proves
/// them without numbers. Ranks take turns in an order drawn from a seed; a send waits while its slots are full.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "rondo/comm/schedule.h"

namespace rondo::comm::test {

struct Outcome {
  bool finished = true;                   // false: the ranks waited for one another for ever
  std::vector<std::vector<double>> data;  // per rank
};

using Combine = std::function<double(double, double)>;

/// `data[rank]` is what each rank starts with. A final result is divided by the number of ranks.
inline Outcome play(const std::vector<Schedule>& ranks, std::vector<std::vector<double>> data, const Combine& combine,
                    uint32_t seed) {
  const int n = static_cast<int>(ranks.size());
  std::vector<std::vector<double>> scratch;
  for (const Schedule& schedule : ranks) scratch.emplace_back(static_cast<size_t>(schedule.scratch_elements), -1e9);
  std::map<std::pair<int, int>, std::deque<std::vector<double>>> messages;  // (from, to)
  std::map<std::pair<int, int>, uint64_t> signals;
  std::vector<size_t> next(static_cast<size_t>(n), 0);
  const auto at = [&](const Place& place, int64_t i) -> double& {
    auto& memory = place.space == Space::kData ? data : scratch;
    return memory[static_cast<size_t>(place.rank)].at(static_cast<size_t>(place.range.begin + i));
  };
  const std::function<double(size_t, size_t, const std::function<double(size_t)>&)> tree =
      [&](size_t lo, size_t hi, const std::function<double(size_t)>& operand) {
        if (hi - lo == 1) return operand(lo);
        const size_t middle = lo + std::bit_floor(hi - lo - 1);
        return combine(tree(lo, middle, operand), tree(middle, hi, operand));
      };
  const auto step = [&](int rank) {  // false: has to wait
    const Schedule& schedule = ranks[static_cast<size_t>(rank)];
    const Action& action = schedule.actions[next[static_cast<size_t>(rank)]];
    switch (action.kind) {
      case ActionKind::kSend: {
        auto& queue = messages[{rank, action.peer}];
        if (static_cast<int>(queue.size()) == schedule.slots) return false;
        std::vector<double>& message = queue.emplace_back();
        for (int64_t i = 0; i < action.from[0].range.count(); ++i) message.push_back(at(action.from[0], i));
        break;
      }
      case ActionKind::kReceive: {
        auto& queue = messages[{action.peer, rank}];
        if (queue.empty()) return false;
        for (int64_t i = 0; i < action.to[0].range.count(); ++i) {
          at(action.to[0], i) = queue.front().at(static_cast<size_t>(i));
        }
        queue.pop_front();
        break;
      }
      case ActionKind::kReduce:
      case ActionKind::kCopy:
        for (int64_t i = 0; i < action.to[0].range.count(); ++i) {
          double value = tree(0, action.from.size(), [&](size_t k) { return at(action.from[k], i); });
          if (action.finality == Finality::kFinal) value /= n;
          for (const Place& to : action.to) at(to, i) = value;
        }
        break;
      case ActionKind::kScale:
        for (int64_t i = 0; i < action.to[0].range.count(); ++i) at(action.to[0], i) /= n;
        break;
      case ActionKind::kSignal:
        signals[{rank, action.peer}] = action.value;
        break;
      case ActionKind::kWait:
        if (signals[{action.peer, rank}] < action.value) return false;
        break;
    }
    ++next[static_cast<size_t>(rank)];
    return true;
  };
  std::minstd_rand random(seed);
  std::vector<int> order;
  for (int rank = 0; rank < n; ++rank) order.push_back(rank);
  for (bool progressed = true; progressed;) {
    progressed = false;
    std::shuffle(order.begin(), order.end(), random);
    for (const int rank : order) {
      for (auto turns = 1 + random() % 5; turns > 0; --turns) {
        if (next[static_cast<size_t>(rank)] == ranks[static_cast<size_t>(rank)].actions.size() || !step(rank)) break;
        progressed = true;
      }
    }
  }
  Outcome outcome{.data = std::move(data)};
  for (int rank = 0; rank < n; ++rank) {
    const auto index = static_cast<size_t>(rank);
    if (next[index] != ranks[index].actions.size()) outcome.finished = false;
  }
  return outcome;
}

/// What one of the algorithms gives every rank of `n`.
inline std::vector<Schedule> on_all_ranks(int n, const std::function<Schedule(Position)>& make) {
  std::vector<Schedule> schedules;
  for (int rank = 0; rank < n; ++rank) schedules.push_back(make({.rank = rank, .world_size = n}));
  return schedules;
}

}  // namespace rondo::comm::test
