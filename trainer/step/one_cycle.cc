#include "trainer/step/one_cycle.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rondo::trainer {
namespace {

double cosine(double from, double to, double share) {
  return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * share));
}

}  // namespace

double OneCycle::at(int64_t step) const {
  const double last = static_cast<double>(total_steps) - 1;
  const double top = rise * static_cast<double>(total_steps) - 1;  // below 0 for very few steps: no rise then
  const double now = std::clamp(static_cast<double>(step), 0.0, last);
  if (now <= top && top > 0) return cosine(peak / start_divisor, peak, now / top);
  return cosine(peak, peak / end_divisor, (now - top) / (last - top));
}

}  // namespace rondo::trainer
