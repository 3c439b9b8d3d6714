#include "comm/memory/limits.h"

#include <gtest/gtest.h>

#include <map>

namespace rondo::comm {
namespace {

FileReader files(std::map<std::string, std::string> content) {
  return [content = std::move(content)](const std::string& path) -> std::optional<std::string> {
    const auto found = content.find(path);
    if (found == content.end()) return std::nullopt;
    return found->second;
  };
}

TEST(CgroupLimits, ReadVersion2AndEveryCgroupAbove) {
  const auto limits = cgroup_limits(files({
      {"/proc/self/cgroup", "0::/pod/job\n"},
      {"/sys/fs/cgroup/pod/job/memory.max", "max\n"},
      {"/sys/fs/cgroup/pod/job/memory.current", "500\n"},
      {"/sys/fs/cgroup/pod/memory.max", "1000\n"},
      {"/sys/fs/cgroup/pod/memory.current", "700\n"},
      {"/sys/fs/cgroup/pod/memory.stat", "anon 400\nfile 300\ninactive_file 120\nactive_file 80\n"},
  }));
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_EQ(limits[0].source, "memory cgroup /sys/fs/cgroup/pod");
  EXPECT_EQ(limits[0].limit, 1000u);
  EXPECT_EQ(limits[0].free, 1000u - 700u + 120u + 80u) << "page cache that can be dropped is free";
}

TEST(CgroupLimits, ReadVersion1AndItsNoLimit) {
  const auto limits = cgroup_limits(files({
      {"/proc/self/cgroup", "3:cpu,cpuacct:/x\n7:hugetlb,memory:/docker/abc\n1:name=systemd:/x\n"},
      {"/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"},
      {"/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "10\n"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n"},
      {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n"},
      {"/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 0\n"},
  }));
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_EQ(limits[0].limit, 4096u);
  EXPECT_EQ(limits[0].free, 0u) << "over the limit is not below zero";
}

TEST(CgroupLimits, AreNoneWhereNothingIsReadable) {
  EXPECT_TRUE(cgroup_limits(files({})).empty());
  EXPECT_TRUE(cgroup_limits(files({{"/proc/self/cgroup", "garbage\n0::\n::\n0:x\n"}})).empty());
}

TEST(MachineLimits, CountWhatIsAvailableAndFreeSwap) {
  const auto limits =
      machine_limits(files({{"/proc/meminfo",
                             "MemTotal:       24684084 kB\nMemFree:          100 kB\nMemAvailable:       2000 kB\n"
                             "SwapTotal:        16 kB\nSwapFree:          8 kB\nHugePages_Total:       0\n"}}));
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_EQ(limits[0].limit, (24'684'084u + 16u) * uint64_t{1024});
  EXPECT_EQ(limits[0].free, 2008u * 1024u);
  EXPECT_TRUE(machine_limits(files({})).empty());
}

TEST(CheckRoom, NamesNeedFreeAndTheTightestLimit) {
  const std::vector<MemoryLimit> limits{{"wide", 1000, 900}, {"narrow", 800, 99}};
  EXPECT_TRUE(check_room(99, "bucket 0", limits).ok());
  EXPECT_TRUE(check_room(1u << 30, "bucket 0", {}).ok());
  const Status status = check_room(100, "bucket 0", limits);
  EXPECT_EQ(status.code(), Code::kResource);
  for (const char* part : {"bucket 0", "need 100 bytes", "free 99", "limit 800", "narrow"})
    EXPECT_NE(status.message().find(part), std::string::npos) << part << " in: " << status.message();
}

}  // namespace
}  // namespace rondo::comm
