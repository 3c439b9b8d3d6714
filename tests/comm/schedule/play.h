/// Plays the schedules of all ranks on real numbers in one thread: a second opinion beside the checker, which proves
/// them without numbers. Ranks take turns in an order drawn from a seed; a send waits while its slots are full.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "rondo/comm/schedule.h"

namespace rondo::comm::test {

using Values = std::vector<double>;

struct Outcome {
  bool finished = true;      // false: the ranks waited for one another for ever
  std::vector<Values> data;  // per rank; of reduce_scatter untouched
  std::vector<Values> result;
};

using Combine = std::function<double(double, double)>;

/// Rounds to few bits: the wire type of these tests.
inline double narrowed(double value) { return std::floor(value / 4) * 4; }

/// The canonical tree over operands lo..hi-1.
template <typename Operand>
double canonical_tree(int lo, int hi, const Combine& combine, const Operand& operand) {
  if (hi - lo == 1) return operand(lo);
  const int middle = lo + static_cast<int>(std::bit_floor(static_cast<unsigned>(hi - lo - 1)));
  return combine(canonical_tree(lo, middle, combine, operand), canonical_tree(middle, hi, combine, operand));
}

class Player {
 public:
  Player(const std::vector<Schedule>& ranks, std::vector<Values> data, Combine combine)
      : ranks_(ranks), n_(static_cast<int>(ranks.size())), combine_(std::move(combine)), next_(ranks.size(), 0) {
    constexpr double kGarbage = -1e9;
    memory_[static_cast<size_t>(Space::kData)] = std::move(data);
    for (const Schedule& schedule : ranks) {
      add(Space::kScratch, Values(static_cast<size_t>(schedule.scratch_elements), kGarbage));
      add(Space::kWire, Values(static_cast<size_t>(schedule.wire_elements), kGarbage));
      add(Space::kResult, Values(static_cast<size_t>(schedule.result_elements), kGarbage));
    }
  }

  /// One action of `rank`; false: it has to wait, or has finished.
  bool step(int rank) {
    const Schedule& schedule = ranks_[static_cast<size_t>(rank)];
    size_t& next = next_[static_cast<size_t>(rank)];
    if (next == schedule.actions.size() || !act(schedule, schedule.actions[next])) return false;
    ++next;
    return true;
  }

  Outcome outcome() {
    Outcome outcome{.data = memory_[static_cast<size_t>(Space::kData)],
                    .result = memory_[static_cast<size_t>(Space::kResult)]};
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (next_[rank] != ranks_[rank].actions.size()) outcome.finished = false;
    }
    return outcome;
  }

 private:
  void add(Space space, Values values) { memory_[static_cast<size_t>(space)].push_back(std::move(values)); }
  double& at(const Place& place, int64_t i) {
    return memory_[static_cast<size_t>(place.space)][static_cast<size_t>(place.rank)].at(
        static_cast<size_t>(place.range.begin + i));
  }
  void store(const Schedule& schedule, const Place& place, int64_t i, double value) {
    at(place, i) = place.space == Space::kWire && schedule.wire == Wire::kNarrow ? narrowed(value) : value;
  }

  bool act(const Schedule& schedule, const Action& action) {
    const int rank = schedule.at.rank;
    const int64_t count = !action.from.empty() ? action.from[0].range.count()
                          : !action.to.empty() ? action.to[0].range.count()
                                               : 0;
    switch (action.kind) {
      case ActionKind::kSend: {
        auto& queue = messages_[{rank, action.peer}];
        if (static_cast<int>(queue.size()) == schedule.slots) return false;
        Values& message = queue.emplace_back();
        for (int64_t i = 0; i < count; ++i) message.push_back(at(action.from[0], i));
        return true;
      }
      case ActionKind::kReceive: {
        auto& queue = messages_[{action.peer, rank}];
        if (queue.empty()) return false;
        for (int64_t i = 0; i < count; ++i) at(action.to[0], i) = queue.front().at(static_cast<size_t>(i));
        queue.pop_front();
        return true;
      }
      case ActionKind::kReduce:
        for (int64_t i = 0; i < count; ++i) {
          double value = canonical_tree(0, static_cast<int>(action.from.size()), combine_,
                                        [&](int k) { return at(action.from[static_cast<size_t>(k)], i); });
          if (action.finality == Finality::kFinal) value /= n_;
          for (const Place& to : action.to) store(schedule, to, i, value);
        }
        return true;
      case ActionKind::kCopy:
        for (int64_t i = 0; i < count; ++i) store(schedule, action.to[0], i, at(action.from[0], i));
        return true;
      case ActionKind::kScale:
        for (int64_t i = 0; i < count; ++i) at(action.to[0], i) /= n_;
        return true;
      case ActionKind::kSignal:
        signals_[{rank, action.peer}] = action.value;
        return true;
      case ActionKind::kWait:
        return signals_[{action.peer, rank}] >= action.value;
    }
    return false;
  }

  const std::vector<Schedule>& ranks_;
  const int n_;
  const Combine combine_;
  std::vector<size_t> next_;
  std::array<std::vector<Values>, 4> memory_;                   // by space and rank
  std::map<std::pair<int, int>, std::deque<Values>> messages_;  // (from, to)
  std::map<std::pair<int, int>, uint64_t> signals_;
};

/// `data[rank]` is what each rank starts with. A final result is divided by the number of ranks.
inline Outcome play(const std::vector<Schedule>& ranks, std::vector<Values> data, const Combine& combine,
                    uint32_t seed) {
  Player player(ranks, std::move(data), combine);
  std::minstd_rand random(seed);
  std::vector<int> order;
  for (size_t rank = 0; rank < ranks.size(); ++rank) order.push_back(static_cast<int>(rank));
  for (bool progressed = true; progressed;) {
    progressed = false;
    std::shuffle(order.begin(), order.end(), random);
    for (const int rank : order) {
      for (auto turns = 1 + random() % 5; turns > 0 && player.step(rank); --turns) progressed = true;
    }
  }
  return player.outcome();
}

/// What a maker gives every rank of `n`.
inline std::vector<Schedule> on_all_ranks(int n, const std::function<Schedule(Position)>& make) {
  std::vector<Schedule> schedules;
  for (int rank = 0; rank < n; ++rank) schedules.push_back(make({.rank = rank, .world_size = n}));
  return schedules;
}

}  // namespace rondo::comm::test
