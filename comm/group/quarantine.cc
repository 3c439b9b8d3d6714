#include "comm/group/quarantine.h"

#include <algorithm>
#include <utility>

namespace rondo::comm {
namespace {

bool out_of_reach(const Quarantine::Kept& kept, const JobPage& page) {
  return std::ranges::all_of(kept.others, [&](int rank) { return page.left(rank, kept.group) || page.gone(rank); });
}

}  // namespace

void Quarantine::keep(Kept kept) {
  const MutexLock lock(mutex_);
  kept_.push_back(std::move(kept));
}

Region Quarantine::take(size_t byte_count, const JobPage& page) {
  const MutexLock lock(mutex_);
  const auto found = std::ranges::find_if(kept_, [&](const Kept& kept) {
    return kept.region.bytes().size() == byte_count && kept.region.sole() && out_of_reach(kept, page);
  });
  if (found == kept_.end()) return {};
  Region region = std::move(found->region);
  kept_.erase(found);
  std::ranges::fill(region.bytes(), std::byte{0});
  return region;
}

void Quarantine::drop() {
  const MutexLock lock(mutex_);
  kept_.clear();
}

}  // namespace rondo::comm
