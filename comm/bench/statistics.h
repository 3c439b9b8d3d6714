/// What is said about many timed calls: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rondo::bench {

/// Microseconds of a call, over the calls of one point.
struct Summary {
  double min = 0;
  double p50 = 0;
  double p99 = 0;
  double max = 0;
};

/// Nearest rank: the smallest value that at least `percent` of the values do not exceed. `sorted` ascends and is not
/// empty.
double percentile(std::span<const double> sorted, double percent);

/// All zero for no samples.
Summary summarise(std::vector<double> microseconds);

/// The middle value, or the mean of the middle two. 0 for none.
double median(std::vector<double> values);

/// Several rounds as one: the least min, the median of p50 and of p99, the greatest max.
Summary over_rounds(std::span<const Summary> rounds);

/// 10^9 bytes a second: `bytes` in `microseconds`; 0 when nothing was moved or no time passed.
double gigabytes_per_second(double bytes, double microseconds);

}  // namespace rondo::bench
