#include "launcher/cli/nearest_name.h"

#include <algorithm>
#include <vector>

namespace rondo::launcher {

size_t edit_distance(std::string_view a, std::string_view b) {
  const size_t width = b.size() + 1;
  std::vector<size_t> before(width), last(width), row(width);
  for (size_t j = 0; j < width; ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j < width; ++j) {
      const size_t substituted = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({substituted, last[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::optional<std::string> nearest_name(std::string_view typed, std::span<const std::string> names) {
  std::optional<std::string> nearest;
  size_t best = std::max<size_t>(2, typed.size() / 3) + 1;
  for (const std::string& name : names) {
    if (const size_t distance = edit_distance(typed, name); distance < best && distance < name.size()) {
      best = distance;
      nearest = name;
    }
  }
  if (nearest) return nearest;
  for (const std::string& name : names) {
    if (typed.size() >= 3 && name.starts_with(typed)) return name;
  }
  return std::nullopt;
}

std::string suggestion(std::string_view typed, std::span<const std::string> names) {
  const auto name = nearest_name(typed, names);
  return name ? " (did you mean '" + *name + "'?)" : "";
}

}  // namespace rondo::launcher
