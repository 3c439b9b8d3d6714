#include "comm/collective/place_weights.h"

#include <iterator>

namespace rondo::comm {

void PlaceWeights::set(const Place& place, double weight) {
  const auto [begin, end] = place.range;
  if (begin >= end) return;
  auto at = stretches_.lower_bound({place.space, begin});
  if (at != stretches_.begin()) {
    const auto before = std::prev(at);
    Stretch& stretch = before->second;
    if (before->first.first == place.space && stretch.end > begin) {
      if (stretch.end > end) at = stretches_.emplace_hint(at, Key{place.space, end}, stretch);
      stretch.end = begin;
    }
  }
  while (at != stretches_.end() && at->first.first == place.space && at->first.second < end) {
    const Stretch stretch = at->second;
    at = stretches_.erase(at);
    if (stretch.end > end) at = stretches_.emplace_hint(at, Key{place.space, end}, stretch);
  }
  stretches_[{place.space, begin}] = {end, weight};
}

std::optional<double> PlaceWeights::find(const Place& place) const {
  auto at = stretches_.upper_bound({place.space, place.range.begin});
  if (at == stretches_.begin()) return std::nullopt;
  --at;
  if (at->first.first != place.space || at->second.end <= place.range.begin) return std::nullopt;
  return at->second.weight;
}

}  // namespace rondo::comm
