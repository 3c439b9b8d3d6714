#include "launcher/agent/core_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "launcher/agent/job_plan.h"
#include "launcher/cli/dry_run.h"

namespace rondo::launcher {
namespace {

/// A machine of equal parts. Cpu numbers as Linux gives them: the second hardware threads of all cores come last.
struct Machine {
  int packages = 1, nodes = 1, caches = 1, cores = 1, threads = 1;  // of each part above
};
std::vector<CpuPlace> places(const Machine& machine) {
  const int cores = machine.packages * machine.nodes * machine.caches * machine.cores;
  std::vector<CpuPlace> all;
  for (int thread = 0; thread < machine.threads; ++thread) {
    for (int core = 0; core < cores; ++core) {
      const int cache = core / machine.cores, node = cache / machine.caches;
      all.push_back({.cpu = 100 + thread * cores + core,  // a mask need not begin at 0
                     .core = core,
                     .cache = cache,
                     .node = node,
                     .package = node / machine.nodes});
    }
  }
  return all;
}

std::vector<std::vector<int>> cpus_of(const std::vector<CoreShare>& shares) {
  std::vector<std::vector<int>> cpus;
  for (const CoreShare& share : shares) cpus.push_back(share.cpus);
  return cpus;
}

using Cpus = std::vector<std::vector<int>>;

TEST(ShareCores, GivesEveryCpuToExactlyOneRankInContiguousGroups) {
  for (int count = 1; count <= 24; ++count) {
    for (int ranks = 1; ranks <= count; ++ranks) {
      std::vector<int> together;
      size_t least = 1000, most = 0;
      for (const CoreShare& share : share_cores(places({.cores = count}), ranks, Binding::kCores)) {
        together.insert(together.end(), share.cpus.begin(), share.cpus.end());
        least = std::min(least, share.cpus.size());
        most = std::max(most, share.cpus.size());
        EXPECT_EQ(share.threads, count / ranks) << count << " cpus, " << ranks << " ranks";
        EXPECT_EQ(share.cpus.back() - share.cpus.front() + 1, static_cast<int>(share.cpus.size()));
      }
      ASSERT_EQ(together.size(), static_cast<size_t>(count)) << count << " cpus, " << ranks << " ranks";
      for (int i = 0; i < count; ++i) EXPECT_EQ(together[static_cast<size_t>(i)], 100 + i);
      EXPECT_LE(most - least, 1u);
    }
  }
}

TEST(ShareCores, TakesTurnsWhenThereAreMoreRanksThanCpus) {
  const auto shares = share_cores(places({.cores = 2}), 5, Binding::kCores);
  EXPECT_EQ(cpus_of(shares), (Cpus{{100}, {101}, {100}, {101}, {100}}));
  for (const CoreShare& share : shares) EXPECT_EQ(share.threads, 1);
}

TEST(ShareCores, KeepsBothHardwareThreadsOfACoreTogetherAndCountsCores) {
  const auto shares = share_cores(places({.cores = 4, .threads = 2}), 2, Binding::kCores);
  EXPECT_EQ(cpus_of(shares), (Cpus{{100, 101, 104, 105}, {102, 103, 106, 107}}));
  EXPECT_EQ(shares[0].threads, 2) << "cores, not hardware threads";
}

TEST(ShareCores, FollowsThePackagesWhenCpuNumbersAlternateBetweenThem) {
  // Linux may number the cpus of two packages in turn.
  std::vector<CpuPlace> cpus;
  for (int cpu = 0; cpu < 8; ++cpu)
    cpus.push_back({.cpu = cpu, .core = cpu, .cache = cpu % 2, .node = cpu % 2, .package = cpu % 2});
  EXPECT_EQ(cpus_of(share_cores(cpus, 2, Binding::kCores)), (Cpus{{0, 2, 4, 6}, {1, 3, 5, 7}}));
}

TEST(ShareCores, BindsToNodesSocketsAndCoreComplexes) {
  const auto cpus = places({.packages = 2, .nodes = 2, .caches = 2, .cores = 2});  // 16 cpus, 8 caches, 4 nodes
  EXPECT_EQ(cpus_of(share_cores(cpus, 4, Binding::kNode)),
            (Cpus{{100, 101, 102, 103}, {104, 105, 106, 107}, {108, 109, 110, 111}, {112, 113, 114, 115}}));
  EXPECT_EQ(cpus_of(share_cores(cpus, 2, Binding::kSocket))[1],
            (std::vector<int>{108, 109, 110, 111, 112, 113, 114, 115}));
  EXPECT_EQ(cpus_of(share_cores(cpus, 2, Binding::kNode)), (Cpus{{100, 101, 102, 103}, {108, 109, 110, 111}}))
      << "fewer ranks than nodes: spread over the packages";
  EXPECT_EQ(cpus_of(share_cores(cpus, 4, Binding::kCoreComplex)),
            (Cpus{{100, 101}, {104, 105}, {108, 109}, {112, 113}}));
}

TEST(ShareCores, SharesANodeAmongItsRanksOrDividesIt) {
  const auto cpus = places({.packages = 2, .cores = 4});
  const auto shared = share_cores(cpus, 4, Binding::kNode);
  EXPECT_EQ(cpus_of(shared),
            (Cpus{{100, 101, 102, 103}, {100, 101, 102, 103}, {104, 105, 106, 107}, {104, 105, 106, 107}}));
  EXPECT_EQ(shared[0].threads, 2) << "two ranks share four cores";
  const auto divided = share_cores(cpus, 4, Binding::kExclusive);
  EXPECT_EQ(cpus_of(divided), (Cpus{{100, 101}, {102, 103}, {104, 105}, {106, 107}}));
  EXPECT_EQ(divided[0].threads, 2);
}

TEST(ShareCores, GivesEveryRankTheSameThreadsAlsoWhenNodesDiffer) {
  const auto cpus = places({.packages = 2, .cores = 4});
  for (const CoreShare& share : share_cores(cpus, 3, Binding::kNode)) EXPECT_EQ(share.threads, 2);
  for (const CoreShare& share : share_cores(cpus, 3, Binding::kNone)) {
    EXPECT_EQ(share.cpus, std::vector<int>()) << "not bound";
    EXPECT_EQ(share.threads, 2);
  }
}

TEST(Binding, HasTorchrunsNames) {
  EXPECT_EQ(binding_of("core-complex"), Binding::kCoreComplex);
  EXPECT_EQ(binding_of("exclusive"), Binding::kExclusive);
  EXPECT_EQ(binding_of("numa"), std::nullopt);
}

TEST(Topology, KnowsEveryUsableCpuOnce) {
  std::vector<int> cpus;
  for (const CpuPlace& place : read_topology()) cpus.push_back(place.cpu);
  EXPECT_EQ(cpus, usable_cpus());
  EXPECT_FALSE(cpus.empty());
  EXPECT_GE(count_cores(read_topology()), 1);
}

/// A cgroup of version 2 whose cpu limit is `limit`, below one without.
comm::FileReader limited_to(const std::string& limit) {
  return [limit](const std::string& path) -> std::optional<std::string> {
    const std::map<std::string, std::string> files{{"/proc/self/cgroup", "0::/slice/job\n"},
                                                   {"/sys/fs/cgroup/slice/job/cpu.max", "max 100000\n"},
                                                   {"/sys/fs/cgroup/slice/cpu.max", limit + "\n"}};
    const auto found = files.find(path);
    return found != files.end() ? std::optional(found->second) : std::nullopt;
  };
}

TEST(CpuLimit, IsTheTightestQuotaRoundedUp) {
  EXPECT_EQ(cpu_limit(limited_to("200000 100000")), 2);
  EXPECT_EQ(cpu_limit(limited_to("150000 100000")), 2);
  EXPECT_EQ(cpu_limit(limited_to("10000 100000")), 1);
  EXPECT_EQ(cpu_limit(limited_to("max 100000")), std::nullopt);
}

TEST(CpuLimit, IsSharedByTheThreadsOfAllRanksAndCapsTheirNumber) {
  const auto threads = [](int ranks, std::optional<int> limit) {
    JobRequest request;
    request.ranks = ranks;
    const HostCpus cpus{.places = places({.cores = 64}), .limit = limit};
    return plan_ranks(request, expected_place(request), cpus).back().share.threads;
  };
  EXPECT_EQ(threads(2, std::nullopt), 32);
  EXPECT_EQ(threads(2, 2), 1);
  EXPECT_EQ(threads(2, 9), 4);
  EXPECT_EQ(threads(8, 2), 1);
  EXPECT_EQ(threads(1, 100), 64);
  EXPECT_EQ(within_limit(64, 2), 2) << "-n auto";
  EXPECT_EQ(within_limit(64, std::nullopt), 64);
}

TEST(CpuLimit, IsSaidByTheDryRun) {
  DryRun run;
  run.cpu_limit = 2;
  run.ranks = plan_ranks(run.job, expected_place(run.job), {.places = places({.cores = 64}), .limit = run.cpu_limit});
  EXPECT_THAT(dry_run_text(run, {}), testing::HasSubstr("1 rank, 2 threads each, "));
  EXPECT_THAT(dry_run_text(run, {}), testing::HasSubstr("cpu limit: the cgroup grants the time of 2 cpus"));
}

TEST(CpuList, SeparatesByCommas) { EXPECT_EQ(cpu_list({0, 1, 5}), "0,1,5"); }

}  // namespace
}  // namespace rondo::launcher
