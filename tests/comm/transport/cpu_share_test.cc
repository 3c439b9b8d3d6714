#include "comm/transport/cpu_share.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rondo::comm {
namespace {

CpuShare on(std::initializer_list<size_t> cpus, uint32_t quota = 0) {
  CpuShare share{.quota = quota};
  for (const size_t cpu : cpus) share.mask[cpu / 64] |= uint64_t{1} << (cpu % 64);
  return share;
}

bool spin(std::vector<CpuShare> ranks) { return may_spin(ranks); }

TEST(CpuShare, RanksSpinWhenEachCanHaveAProcessorOfItsOwn) {
  EXPECT_TRUE(spin({on({0})}));
  EXPECT_TRUE(spin({on({0}), on({1})}));
  EXPECT_TRUE(spin({on({0, 1}), on({0, 1})}));
  EXPECT_TRUE(spin({on({0, 1}), on({0})}));  // the first has to make room
  EXPECT_TRUE(spin({on({3, 700}), on({3, 700, 1023}), on({3})}));
}

TEST(CpuShare, RanksDoNotSpinWhenTwoMustShare) {
  EXPECT_FALSE(spin({on({0}), on({0})}));
  EXPECT_FALSE(spin({on({0, 1}), on({0, 1}), on({0, 1})}));
  EXPECT_FALSE(spin({on({0}), on({0}), on({1, 2, 3, 4})}));  // enough in all, but not for these two
  EXPECT_FALSE(spin({on({})}));
}

TEST(CpuShare, AQuotaBelowTheNumberOfRanksForbidsToSpin) {
  EXPECT_TRUE(spin({on({0, 1}, 2), on({0, 1}, 2)}));
  EXPECT_FALSE(spin({on({0, 1}, 1), on({0, 1}, 0)}));
}

FileReader files(std::map<std::string, std::string> content) {
  return [content = std::move(content)](const std::string& path) -> std::optional<std::string> {
    const auto found = content.find(path);
    return found == content.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(CpuShare, TheTightestQuotaOfTheCgroupsAboveCounts) {
  EXPECT_EQ(own_cpu_share(files({})).quota, 0u);
  EXPECT_EQ(own_cpu_share(files({{"/proc/self/cgroup", "0::/a/b\n"},
                                 {"/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
                                 {"/sys/fs/cgroup/a/cpu.max", "250000 100000\n"}}))
                .quota,
            2u);
  EXPECT_EQ(own_cpu_share(files({{"/proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/y\n"},
                                 {"/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000"},
                                 {"/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000"}}))
                .quota,
            1u);
  EXPECT_EQ(own_cpu_share(files({{"/proc/self/cgroup", "4:cpu:/x\n"}, {"/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1"}}))
                .quota,
            0u);
}

TEST(CpuShare, AQuotaOfPartsIsReadAsSuch) {
  EXPECT_EQ(cpu_quota(files({})), std::nullopt);
  EXPECT_EQ(cpu_quota(files({{"/proc/self/cgroup", "0::/a/b\n"},
                             {"/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n"},
                             {"/sys/fs/cgroup/a/cpu.max", "150000 100000\n"}})),
            1.5);
}

TEST(CpuShare, ThisProcessMayUseAProcessor) {
  const CpuShare share = own_cpu_share(system_files());
  uint64_t any = 0;
  for (const uint64_t word : share.mask) any |= word;
  EXPECT_NE(any, 0u);
}

}  // namespace
}  // namespace rondo::comm
