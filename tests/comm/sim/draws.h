/// Choices drawn from a seed, one after the other.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace rondo::comm {

class Draws {
 public:
  explicit Draws(uint64_t seed) : random_(seed) {}
  uint64_t below(uint64_t end) { return end <= 1 ? 0 : random_() % end; }
  /// From `first` to `last`, both included.
  int between(int first, int last) { return first + static_cast<int>(below(static_cast<uint64_t>(last - first + 1))); }
  bool chance(int percent) { return below(100) < static_cast<uint64_t>(percent); }
  template <typename T>
  T one_of(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace rondo::comm
