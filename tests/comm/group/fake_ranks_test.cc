/// Many fake ranks in one thread, under a virtual clock: the same protocols as in production, no thread and no sleep.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rondo/comm/collectives.h"
#include "tests/support/fake_world.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::FakeWorld;

// 64-bit integers: exact for a thousand ranks too.
constexpr int64_t contribution(int rank, int64_t index) { return (rank + 1) * int64_t{1000} + index % 97; }
constexpr int64_t sum_over_ranks(int64_t n, int64_t index) { return n * (n + 1) * 500 + n * (index % 97); }

class FakeRanks : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(OneThread, FakeRanks, testing::Values(TransportKind::kInproc, TransportKind::kTcp),
                         [](const auto& each) { return std::string(name(each.param)); });

/// Every rank's operand of one all_reduce, and its Work.
struct Reduction {
  Reduction(std::vector<Group>& groups, int64_t element_count)
      : values(groups.size(), std::vector<int64_t>(static_cast<size_t>(element_count))) {
    for (size_t rank = 0; rank < groups.size(); ++rank) {
      for (int64_t i = 0; i < element_count; ++i) {
        values[rank][static_cast<size_t>(i)] = contribution(static_cast<int>(rank), i);
      }
      works.push_back(all_reduce(groups[rank], view(values[rank]), ReduceOp::kSum, {.tag = "fake"}));
    }
  }
  void expect_right_on(size_t rank) const {
    const int n = static_cast<int>(values.size());
    RONDO_ASSERT_OK(works[rank].status());
    for (size_t i = 0; i < values[rank].size(); ++i) {
      ASSERT_EQ(values[rank][i], sum_over_ranks(n, static_cast<int64_t>(i))) << rank << " " << i;
    }
  }

  std::vector<std::vector<int64_t>> values;
  std::vector<Work> works;
};

TEST_P(FakeRanks, SixtyFourFormAGroupAndReduceUnderAVirtualClock) {
  FakeWorld world(64,
                  {.transport = GetParam(),
                   .sim = {.latency_min = std::chrono::microseconds(5), .latency_max = std::chrono::microseconds(80)}});
  auto groups = world.form({.segment_bytes = 256});
  const Reduction reduction(groups, 1000);
  ASSERT_TRUE(world.run([&](size_t rank) { return world.go_on(rank, reduction.works[rank]); }));
  for (size_t rank = 0; rank < groups.size(); ++rank) reduction.expect_right_on(rank);
}

/// Counts what ranks ask of a store.
class CountingStore final : public Store {
 public:
  std::unique_ptr<StoreCall> start(StoreRequest request) override {
    ++requests_;
    keys_ += request.keys.size();
    return below_->start(std::move(request));
  }
  double requests() const { return static_cast<double>(requests_); }
  double keys() const { return static_cast<double>(keys_); }

 private:
  const std::shared_ptr<Store> below_ = in_process_store();
  size_t requests_ = 0, keys_ = 0;
};

class ThousandRanks : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(OneThread, ThousandRanks, testing::Values(TransportKind::kInproc, TransportKind::kTcp),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(ThousandRanks, FormAGroupWithTwoStoreRequestsEachAndReduceInOneThread) {
  const int n = 1000;
  const auto store = std::make_shared<CountingStore>();
  FakeWorld world(n, {.transport = GetParam(), .sim = {.would_block_percent = 0}, .store = store});
  auto lap = Clock::now();
  const auto seconds = [&] {
    const auto begin = std::exchange(lap, Clock::now());
    return std::chrono::duration<double>(lap - begin).count();
  };
  auto groups = world.form({});
  const double forming = seconds();
  EXPECT_LE(store->requests(), 2.0 * n);
  // Of chunks with an element and of chunks without; over streams fewer, since there each message is many events.
  const Reduction reduction(groups, GetParam() == TransportKind::kInproc ? 250 : 40);
  ASSERT_TRUE(world.run([&](size_t rank) { return world.go_on(rank, reduction.works[rank]); }));
  for (size_t rank = 0; rank < n; ++rank) reduction.expect_right_on(rank);
  std::printf("%d ranks over %s: formed in %.1f s with %.2f store requests of %.1f keys a rank, reduced in %.1f s\n", n,
              std::string(name(GetParam())).c_str(), forming, store->requests() / n, store->keys() / n, seconds());
}

TEST(FakeRanksFaults, ARankThatDiesInTheMiddleIsNamedByItsNeighbours) {
  const int n = 5;
  FakeWorld world(n, {.transport = TransportKind::kTcp,
                      .sim = {.seed = 7, .most_bytes_per_call = 512},
                      .death_known_after = std::chrono::seconds(50)});  // nobody tells: the links must
  auto groups = world.form({.segment_bytes = 256});
  const Reduction reduction(groups, 5000);
  int turns = 0;
  ASSERT_TRUE(world.run([&](size_t rank) {
    if (rank == 3 && ++turns == 20) world.kill(3);
    return world.go_on(rank, reduction.works[rank]);
  }));
  for (const int rank : {0, 1, 2, 4}) {
    const Status status = reduction.works[static_cast<size_t>(rank)].status();
    EXPECT_EQ(status.code(), Code::kPeerLost) << status.text();
    EXPECT_EQ(status.where().peer, 3) << status.text();
    EXPECT_NE(status.text().find("rank 3"), std::string::npos) << status.text();
  }
}

TEST(FakeRanksFaults, TheOperationTimeoutIsSimulatedTimeAndNamesTheSilentRank) {
  FakeWorld world(2, {.transport = TransportKind::kTcp});
  auto groups = world.form({.operation_timeout = std::chrono::seconds(30)});
  std::vector<float> values(10, 1);
  const Work work = all_reduce(groups[0], view(values), ReduceOp::kSum);
  const TimePoint begin = world.now();
  ASSERT_TRUE(world.run([&](size_t rank) { return rank == 1 ? Progress::kDone : world.go_on(rank, work); }));
  EXPECT_GE(world.now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(work.status().code(), Code::kTimeout) << work.status().text();
  EXPECT_NE(work.status().text().find("timed out after 30.0 s"), std::string::npos) << work.status().text();
  EXPECT_NE(work.status().text().find("not in this call: rank 1"), std::string::npos) << work.status().text();
}

}  // namespace
}  // namespace rondo::comm
