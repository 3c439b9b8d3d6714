/// The data thread: what is in flight goes on without any call, and callers and thread never get in each other's way.
#include "comm/group/data_thread.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "rondo/comm/group.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;
using Wish = EndpointOptions::DataThread;

// More than the buffers of a loopback connection hold, so that no call of its own sends it all.
constexpr size_t kElements = size_t{8} << 20;

test::RankOptions over_tcp(Wish wish, std::chrono::milliseconds timeout = 60s) {
  test::RankOptions options{.transport = TransportKind::kTcp, .data_thread = wish};
  options.group.operation_timeout = timeout;
  return options;
}

BufferView view(std::vector<float>& values) {
  return {values.data(), static_cast<int64_t>(values.size()), DType::kFloat32};
}

int threads_named(const std::string& name) {
  int count = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(thread.path() / "comm");
    std::string text;
    std::getline(file, text);
    count += text == name ? 1 : 0;
  }
  return count;
}

/// Looks, and moves nothing.
bool done_by_itself(const Work& work, Duration limit) {
  const Deadline deadline = after(limit);
  while (!work.done() && !deadline.passed(Clock::now())) std::this_thread::sleep_for(1ms);
  return work.done();
}

TEST(DataThread, EndsACollectiveThatNobodyWaitsFor) {
  test::run_ranks(
      2,
      [](Group& group) {
        std::vector<float> values(kElements, static_cast<float>(group.rank() + 1));
        Work work = all_reduce(group, view(values), ReduceOp::kSum);
        EXPECT_TRUE(done_by_itself(work, 30s));
        RONDO_ASSERT_OK(work.wait());
        EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value == 3; }));
      },
      over_tcp(Wish::kAlways));
}

TEST(DataThread, IsNotThereOnOneHostOrWhenSwitchedOff) {
  for (const Wish wish : {Wish::kAuto, Wish::kOff}) {
    test::run_ranks(
        2,
        [](Group& group) {
          std::vector<float> values(kElements, 1);
          Work work = all_reduce(group, view(values), ReduceOp::kSum);
          EXPECT_FALSE(done_by_itself(work, 100ms));
          RONDO_ASSERT_OK(work.wait());
          EXPECT_EQ(threads_named("rondo-data"), 0);
        },
        over_tcp(wish));
  }
}

// Many in flight on two groups of four ranks, some waited for, some looked at, some left to the thread.
TEST(DataThread, SharesTheWorkWithCallersWithoutHarm) {
  test::run_endpoints(
      4,
      [](Endpoint& endpoint) {
        const Deadline deadline = after(60s);
        auto one = Group::create(endpoint, {.name = "one"}, deadline),
             two = Group::create(endpoint, {.name = "two"}, deadline);
        RONDO_ASSERT_OK(one);
        RONDO_ASSERT_OK(two);
        constexpr int kRounds = 20, kInFlight = 6;
        for (int round = 0; round < kRounds; ++round) {
          std::vector<std::vector<float>> buffers;
          for (int i = 0; i < kInFlight; ++i) {
            buffers.emplace_back(size_t{1} << (8 + 2 * i));
            std::iota(buffers.back().begin(), buffers.back().end(), static_cast<float>(endpoint.at().rank));
          }
          std::vector<Work> works;
          for (int i = 0; i < kInFlight; ++i)
            works.push_back(
                all_reduce(i % 2 == 0 ? *one : *two, view(buffers[static_cast<size_t>(i)]), ReduceOp::kSum));
          if (round % 3 == 1) {
            ASSERT_TRUE(done_by_itself(works.back(), 30s));
          }
          while (round % 3 == 2 && !works.front().progress()) std::this_thread::yield();
          for (Work& work : works) RONDO_ASSERT_OK(work.wait());
          for (const auto& buffer : buffers) {
            for (size_t i = 0; i < buffer.size(); ++i) ASSERT_EQ(buffer[i], 4 * static_cast<float>(i) + 6);
          }
        }
        RONDO_ASSERT_OK(endpoint.close(deadline));
      },
      over_tcp(Wish::kAlways));
}

TEST(DataThread, LetsNoOperationTimeOutBeforeSomebodyWaitsForIt) {
  test::run_ranks(
      2,
      [](Group& group) {
        std::vector<float> values(1024, 1);
        if (group.rank() == 1) std::this_thread::sleep_for(1500ms);  // computes for longer than the timeout
        Work work = all_reduce(group, view(values), ReduceOp::kSum);
        if (group.rank() == 0) std::this_thread::sleep_for(2s);  // so does this one
        RONDO_ASSERT_OK(work.wait());
      },
      over_tcp(Wish::kAlways, 1s));
}

TEST(DataThread, DroppedWorkAndDroppedGroupsEndUnderIt) {
  for (int round = 0; round < 10; ++round) {
    test::run_endpoints(
        2,
        [&](Endpoint& endpoint) {
          auto group = Group::create(endpoint, {}, after(60s));
          RONDO_ASSERT_OK(group);
          std::vector<float> values(kElements / 8, 1);
          Work work = all_reduce(*group, view(values), ReduceOp::kSum);
          if (endpoint.at().rank == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(200 * round));
            work = Work();
            (void)endpoint.close(after(10s));  // where the work was done already, its last bytes go out
            return;
          }
          const Status status = work.wait();
          EXPECT_TRUE(status.ok() || status.code() == Code::kAborted) << status.text();
        },
        over_tcp(Wish::kAlways));
    // It ends with its endpoint, or just after when it was at it.
    const Deadline deadline = after(5s);
    while (threads_named("rondo-data") > 0 && !deadline.passed(Clock::now())) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(threads_named("rondo-data"), 0);
  }
}

}  // namespace
}  // namespace rondo::comm
