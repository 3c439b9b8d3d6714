/// Tests whose count is small in CI and large in `./dev soak`: one test, two counts.
///
///   RONDO_SOAK_COUNT   how many rounds to run now; not set: the test's own number, for CI
///   RONDO_SOAK_FIRST   the number of the first round; a round draws all that is random from its number, so a soak can
///                      be cut into slices and a failing round be run alone
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace rondo::test {

struct SoakRounds {
  uint64_t first = 0, count = 0;
};

inline SoakRounds soak_rounds(uint64_t count_in_ci) {
  const auto number = [](const char* variable, uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
  };
  return {.first = number("RONDO_SOAK_FIRST", 0), .count = number("RONDO_SOAK_COUNT", count_in_ci)};
}

/// The value below which `share` of the sorted samples lie (nearest rank).
inline double percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::min(sorted.size(), std::max<size_t>(rank, 1)) - 1];
}

/// Prints one JSON line with p50, p99, max and all samples, which `./dev soak` collects over its slices.
inline void print_samples(const std::string& metric, std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  std::printf("{\"metric\":\"%s\",\"n\":%zu,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"samples\":[", metric.c_str(),
              samples.size(), percentile(samples, 0.5), percentile(samples, 0.99),
              samples.empty() ? 0 : samples.back());
  for (size_t i = 0; i < samples.size(); ++i) std::printf(i == 0 ? "%.3f" : ",%.3f", samples[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

}  // namespace rondo::test
