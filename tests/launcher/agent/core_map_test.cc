#include "launcher/agent/core_map.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace rondo::launcher {
namespace {

std::vector<int> cpus(int count) {
  std::vector<int> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 100);  // a mask need not begin at 0
  return all;
}

TEST(ShareCores, GivesEveryCpuToExactlyOneRankInContiguousGroups) {
  for (int count = 1; count <= 24; ++count) {
    for (int ranks = 1; ranks <= count; ++ranks) {
      std::vector<int> together;
      size_t least = 1000, most = 0;
      for (const CoreShare& share : share_cores(cpus(count), ranks)) {
        together.insert(together.end(), share.cpus.begin(), share.cpus.end());
        least = std::min(least, share.cpus.size());
        most = std::max(most, share.cpus.size());
        EXPECT_EQ(share.threads, count / ranks) << count << " cpus, " << ranks << " ranks";
        EXPECT_EQ(share.cpus.back() - share.cpus.front() + 1, static_cast<int>(share.cpus.size()));
      }
      EXPECT_EQ(together, cpus(count)) << count << " cpus, " << ranks << " ranks";
      EXPECT_LE(most - least, 1u);
    }
  }
}

TEST(ShareCores, TakesTurnsWhenThereAreMoreRanksThanCpus) {
  const auto shares = share_cores({3, 7}, 5);
  ASSERT_EQ(shares.size(), 5u);
  for (size_t rank = 0; rank < shares.size(); ++rank) {
    EXPECT_EQ(shares[rank].cpus, std::vector<int>{rank % 2 == 0 ? 3 : 7}) << "rank " << rank;
    EXPECT_EQ(shares[rank].threads, 1);
  }
}

TEST(UsableCpus, IsNeverEmpty) { EXPECT_FALSE(usable_cpus().empty()); }

TEST(CpuList, SeparatesByCommas) { EXPECT_EQ(cpu_list({0, 1, 5}), "0,1,5"); }

}  // namespace
}  // namespace rondo::launcher
