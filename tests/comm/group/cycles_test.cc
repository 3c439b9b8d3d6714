/// Groups that come and go leave nothing behind.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/descriptors.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::RankOptions;

/// What this process holds of the system.
struct Holdings {
  size_t descriptors = 0, threads = 0;
  size_t shared_mappings = 0;  // of memory that comm shares
  size_t mappings = 0;         // all, the allocator's included
};

Holdings holdings() {
  Holdings held{.descriptors = test::open_descriptors()};
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    ++held.mappings;
    held.shared_mappings += line.find("/memfd:rondo") != std::string::npos ? 1 : 0;
  }
  for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task")) ++held.threads;
  return held;
}

class Cycles : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(All, Cycles, testing::Values(TransportKind::kInproc, TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& of) { return std::string(name(of.param)); });

TEST_P(Cycles, AThousandGroupsLeaveNoDescriptorMappingOrThread) {
  constexpr int kWarmUp = 50, kCycles = 1000;
  test::run_endpoints(2,
                      [&](Endpoint& endpoint) {
                        const Deadline deadline = in_seconds(100);
                        auto world = Group::create(endpoint, {}, deadline);
                        RONDO_ASSERT_OK(world);
                        Holdings before;
                        for (int cycle = 0; cycle < kWarmUp + kCycles; ++cycle) {
                          if (cycle == kWarmUp) {
                            RONDO_ASSERT_OK(barrier(*world).wait(deadline));
                            if (endpoint.at().rank == 0)
                              before = holdings();  // the other rank sits in the barrier below
                            RONDO_ASSERT_OK(barrier(*world).wait(deadline));
                          }
                          auto group = Group::create(endpoint, {.name = "cycle"}, deadline);
                          RONDO_ASSERT_OK(group);
                          auto region = group->allocate(4096, "a test buffer");
                          RONDO_ASSERT_OK(region);
                          std::vector<int64_t> values{endpoint.at().rank + cycle};
                          RONDO_ASSERT_OK(all_reduce(*group, view(values), ReduceOp::kSum).wait(deadline));
                          ASSERT_EQ(values[0], 2 * cycle + 1);
                          if (cycle % 2 == 0) RONDO_ASSERT_OK(group->close(deadline));  // else dropped
                        }
                        RONDO_ASSERT_OK(barrier(*world).wait(deadline));
                        if (endpoint.at().rank == 0) {
                          const Holdings after = holdings();
                          EXPECT_EQ(after.descriptors, before.descriptors);
                          EXPECT_EQ(after.threads, before.threads);
                          EXPECT_EQ(after.shared_mappings, before.shared_mappings);
                          EXPECT_LT(after.mappings, before.mappings + kCycles / 10)
                              << "the allocator may come to another few";
                        }
                        RONDO_ASSERT_OK(barrier(*world).wait(deadline));
                      },
                      {.transport = GetParam(), .deadline = std::chrono::seconds(110)});
}

}  // namespace
}  // namespace rondo::comm
