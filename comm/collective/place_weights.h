/// How much the operands weigh that are summed in a place of this rank: what a mean is divided by, and what is said to
/// a peer about what it gets.
///
/// An algorithm may send or reduce any part of what it has summed, so weights belong to ranges and not to where a range
/// begins. Threading: its execution's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "rondo/comm/schedule.h"

namespace rondo::comm {

class PlaceWeights {
 public:
  /// Every element of the place weighs so much from now on.
  void set(const Place& place, double weight);
  /// What the place's first element weighs: all of a place weigh the same. Empty where nothing was set.
  std::optional<double> find(const Place& place) const;

 private:
  struct Stretch {
    int64_t end = 0;
    double weight = 0;
  };
  using Key = std::pair<Space, int64_t>;  // where a stretch begins; they do not overlap
  std::map<Key, Stretch> stretches_;
};

}  // namespace rondo::comm
