#include "comm/transport/cpu_share.h"

#include <sched.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace rondo::comm {
namespace {

constexpr int kMostProcessors = 16 * 64;

/// Gives every rank a processor of its own where that is possible: augmenting paths in the graph of ranks and
/// processors (Kuhn, "The Hungarian method"; unweighted).
class Seating {
 public:
  explicit Seating(std::span<const CpuShare> ranks) : ranks_(ranks), seat_taken_by_(kMostProcessors, -1) {}

  bool all() {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      tried_.assign(kMostProcessors, false);
      if (!seat(static_cast<int>(rank))) return false;
    }
    return true;
  }

 private:
  // Recursion: at most as deep as there are ranks.
  bool seat(int rank) {
    for (size_t cpu = 0; cpu < kMostProcessors; ++cpu) {
      const bool allowed = (ranks_[static_cast<size_t>(rank)].mask[cpu / 64] >> (cpu % 64) & 1) != 0;
      if (!allowed || tried_[cpu]) continue;
      tried_[cpu] = true;
      if (seat_taken_by_[cpu] < 0 || seat(seat_taken_by_[cpu])) {
        seat_taken_by_[cpu] = rank;
        return true;
      }
    }
    return false;
  }

  const std::span<const CpuShare> ranks_;
  std::vector<int> seat_taken_by_;
  std::vector<bool> tried_;
};

}  // namespace

CpuShare own_cpu_share(const FileReader& read) {
  CpuShare share;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (size_t cpu = 0; cpu < kMostProcessors && cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) share.mask[cpu / 64] |= uint64_t{1} << (cpu % 64);
    }
  }
  if (const auto quota = cpu_quota(read)) share.quota = std::max<uint32_t>(1, static_cast<uint32_t>(*quota));
  return share;
}

bool may_spin(std::span<const CpuShare> ranks) {
  for (const CpuShare& share : ranks) {
    if (share.quota != 0 && share.quota < ranks.size()) return false;
  }
  return Seating(ranks).all();
}

}  // namespace rondo::comm
