#include "comm/bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace rondo::bench {

double percentile(std::span<const double> sorted, double percent) {
  const auto count = static_cast<double>(sorted.size());
  const auto at_least = static_cast<size_t>(std::ceil(percent / 100 * count));
  return sorted[std::clamp<size_t>(at_least, 1, sorted.size()) - 1];
}

Summary summarise(std::vector<double> microseconds) {
  if (microseconds.empty()) return {};
  std::sort(microseconds.begin(), microseconds.end());
  return {.min = microseconds.front(),
          .p50 = percentile(microseconds, 50),
          .p99 = percentile(microseconds, 99),
          .max = microseconds.back()};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Summary over_rounds(std::span<const Summary> rounds) {
  if (rounds.empty()) return {};
  Summary all{.min = rounds[0].min, .max = rounds[0].max};
  std::vector<double> middles, tails;
  for (const Summary& round : rounds) {
    all.min = std::min(all.min, round.min);
    all.max = std::max(all.max, round.max);
    middles.push_back(round.p50);
    tails.push_back(round.p99);
  }
  all.p50 = median(std::move(middles));
  all.p99 = median(std::move(tails));
  return all;
}

double gigabytes_per_second(double bytes, double microseconds) {
  return microseconds > 0 ? bytes / microseconds / 1000 : 0;
}

}  // namespace rondo::bench
