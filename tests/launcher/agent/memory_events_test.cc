#include "launcher/agent/memory_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using testing::HasSubstr;

/// Files that a test spells out.
class Files {
 public:
  void put(const std::string& path, const std::string& content) { files_[path] = content; }
  comm::FileReader reader() const {
    return [this](const std::string& path) -> std::optional<std::string> {
      const auto found = files_.find(path);
      return found != files_.end() ? std::optional(found->second) : std::nullopt;
    };
  }

 private:
  std::map<std::string, std::string> files_;
};

TEST(MemoryEvents, AreReadFromVersionTwoInnermostFirst) {
  Files files;
  files.put("/proc/self/cgroup", "0::/jobs/mine\n");
  files.put("/sys/fs/cgroup/jobs/mine/memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n");
  files.put("/sys/fs/cgroup/jobs/mine/memory.max", "67108864\n");
  files.put("/sys/fs/cgroup/jobs/memory.events", "oom_kill 5\n");
  files.put("/sys/fs/cgroup/jobs/memory.max", "max\n");
  const auto groups = memory_groups(files.reader());
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].folder, "/sys/fs/cgroup/jobs/mine");
  EXPECT_EQ(groups[0].kills, 2u);
  EXPECT_EQ(groups[0].limit_bytes, 64u << 20);
  EXPECT_EQ(groups[1].kills, 5u);
  EXPECT_FALSE(groups[1].limit_bytes);
}

TEST(MemoryEvents, OfVersionOneFallBackToTheContainersOwnCgroup) {
  Files files;
  files.put("/proc/self/cgroup", "4:memory:/of/the/host\n1:cpu,cpuacct:/x\n");
  files.put("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  files.put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const auto groups = memory_groups(files.reader());
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].kills, 1u);
  EXPECT_FALSE(groups[0].limit_bytes);
}

TEST(MemoryEvents, TheTightestLimitMayBeThatOfASliceAbove) {
  Files files;
  files.put("/proc/self/cgroup", "0::/pod/mine\n");
  files.put("/sys/fs/cgroup/pod/mine/memory.events", "oom_kill 0\n");
  files.put("/sys/fs/cgroup/pod/mine/memory.max", "max\n");
  files.put("/sys/fs/cgroup/pod/memory.events", "oom_kill 0\n");
  files.put("/sys/fs/cgroup/pod/memory.max", "67108864\n");
  const auto groups = memory_groups(files.reader());
  EXPECT_EQ(tightest_limit(groups, uint64_t{1} << 30), 64u << 20);
  EXPECT_EQ(tightest_limit(groups, 32u << 20), std::nullopt) << "the machine has less";
  EXPECT_EQ(tightest_limit({}, uint64_t{1} << 30), std::nullopt);
}

TEST(MemoryEvents, CountOnlySinceTheBeginning) {
  Files files;
  files.put("/proc/self/cgroup", "0::/job\n");
  files.put("/sys/fs/cgroup/job/memory.events", "oom_kill 4\n");
  files.put("/sys/fs/cgroup/job/memory.max", "67108864\n");
  MemoryEvents events(files.reader());
  events.begin();
  EXPECT_EQ(events.since_begin(), "");
  files.put("/sys/fs/cgroup/job/memory.events", "oom_kill 5\n");
  EXPECT_EQ(events.since_begin(),
            "memory cgroup /sys/fs/cgroup/job: the kernel killed a process in it for lack of memory (limit 64.0 MiB)");
}

}  // namespace
}  // namespace rondo::launcher
