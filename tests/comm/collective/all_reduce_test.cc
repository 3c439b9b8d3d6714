#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::RankOptions;
using test::run_ranks;

// Distinct for every rank and index, exact in float32 for n <= 64.
template <typename T>
constexpr T contribution(int rank, int64_t index) {
  return static_cast<T>((rank + 1) * 1000 + index % 97);
}
template <typename T>
constexpr T sum_over_ranks(int n, int64_t index) {
  return static_cast<T>(n * (n + 1) / 2 * 1000 + n * (index % 97));
}

template <typename T>
std::vector<T> make_values(int64_t count, int rank) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = contribution<T>(rank, i);
  return values;
}

class OverTransports : public testing::TestWithParam<TransportKind> {
 protected:
  RankOptions options(int64_t segment_bytes = 256 * 1024) const {
    return {.transport = GetParam(), .group = {.segment_bytes = segment_bytes}};
  }
};
INSTANTIATE_TEST_SUITE_P(AllReduce, OverTransports,
                         testing::Values(TransportKind::kInproc, TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(OverTransports, SumsEveryRankExactlyOnce) {
  for (const int n : {1, 2, 3, 5, 8}) {
    run_ranks(
        n,
        [n](Group& group) {
          for (const int64_t count : {0, 1, n - 1, n, n + 1, 97, 16 * n + 1}) {
            auto values = make_values<float>(count, group.rank());
            RONDO_ASSERT_OK(all_reduce(group, view(values), ReduceOp::kSum, {.tag = "floats"}).wait(in_seconds(20)));
            auto wide = make_values<int64_t>(count, group.rank());
            RONDO_ASSERT_OK(all_reduce(group, view(wide), ReduceOp::kSum, {.tag = "integers"}).wait(in_seconds(20)));
            for (int64_t i = 0; i < count; ++i) {
              ASSERT_EQ(values[static_cast<size_t>(i)], sum_over_ranks<float>(n, i))
                  << "index " << i << " of " << count;
              ASSERT_EQ(wide[static_cast<size_t>(i)], sum_over_ranks<int64_t>(n, i))
                  << "index " << i << " of " << count;
            }
          }
        },
        options(64));
  }
}

TEST_P(OverTransports, ManySegmentsKeepEveryElement) {
  run_ranks(
      3,
      [](Group& group) {
        const int64_t count = 300'001;
        auto values = make_values<double>(count, group.rank());
        RONDO_ASSERT_OK(all_reduce(group, view(values), ReduceOp::kSum).wait(in_seconds(30)));
        for (int64_t i = 0; i < count; ++i)
          ASSERT_EQ(values[static_cast<size_t>(i)], sum_over_ranks<double>(3, i)) << i;
      },
      options(16 * 1024));
}

TEST_P(OverTransports, MaxAndBitOrSeeEveryRank) {
  run_ranks(
      5,
      [](Group& group) {
        std::vector<float> values{static_cast<float>(group.rank()), static_cast<float>(-group.rank()), 7};
        RONDO_ASSERT_OK(all_reduce(group, view(values), ReduceOp::kMax).wait(in_seconds(20)));
        EXPECT_EQ(values, (std::vector<float>{4, 0, 7}));
        std::vector<uint8_t> bits{static_cast<uint8_t>(1u << group.rank()), 0};
        RONDO_ASSERT_OK(all_reduce(group, view(bits), ReduceOp::kBitOr).wait(in_seconds(20)));
        EXPECT_EQ(bits, (std::vector<uint8_t>{31, 0}));
      },
      options());
}

TEST_P(OverTransports, WeightedMeanDividesOnceByTheSumOfWeights) {
  for (const int n : {1, 2, 3, 5}) {
    run_ranks(
        n,
        [n](Group& group) {
          // Rank r hands in weight * mean with weight r + 1; the exact mean over all samples is then sum /
          // sum(weights).
          const int64_t count = 11;
          const double weight = group.rank() + 1;
          std::vector<double> values(count);
          double total = 0;
          for (int r = 0; r < n; ++r) total += r + 1;
          for (int64_t i = 0; i < count; ++i)
            values[static_cast<size_t>(i)] = weight * contribution<double>(group.rank(), i);
          RONDO_ASSERT_OK(
              all_reduce(group, view(values), ReduceOp::kWeightedMean, {.weight = weight}).wait(in_seconds(20)));
          for (int64_t i = 0; i < count; ++i) {
            double sum = 0;
            for (int r = 0; r < n; ++r) sum += (r + 1) * contribution<double>(r, i);
            ASSERT_EQ(values[static_cast<size_t>(i)], sum / total) << i;
          }
        },
        options());
  }
}

TEST_P(OverTransports, ARankOfWeightZeroContributesNothingNotEvenANan) {
  run_ranks(
      3,
      [](Group& group) {
        std::vector<float> values(10, group.rank() == 1 ? std::numeric_limits<float>::quiet_NaN() : 6.0f);
        RONDO_ASSERT_OK(
            all_reduce(group, view(values), ReduceOp::kWeightedMean, {.weight = group.rank() == 1 ? 0.0 : 2.0})
                .wait(in_seconds(20)));
        for (const float value : values) ASSERT_EQ(value, 3.0f);
        std::vector<float> none(4, std::numeric_limits<float>::quiet_NaN());
        RONDO_ASSERT_OK(all_reduce(group, view(none), ReduceOp::kWeightedMean, {.weight = 0}).wait(in_seconds(20)));
        for (const float value : none) ASSERT_EQ(value, 0.0f);
      },
      options());
}

TEST_P(OverTransports, EveryRankEndsWithTheSameBits) {
  const int n = 5;
  const int64_t count = 1003;
  std::vector<std::vector<float>> results(n);
  run_ranks(
      n,
      [&](Group& group) {
        std::vector<float> values(count);
        for (int64_t i = 0; i < count; ++i) {
          values[static_cast<size_t>(i)] = std::sin(static_cast<float>(i * 7 + group.rank() * 131)) * 1e3f;
        }
        RONDO_ASSERT_OK(all_reduce(group, view(values), ReduceOp::kWeightedMean).wait(in_seconds(20)));
        results[static_cast<size_t>(group.rank())] = values;
      },
      options(256));
  for (int rank = 1; rank < n; ++rank) {
    ASSERT_EQ(std::memcmp(results[0].data(), results[static_cast<size_t>(rank)].data(), count * sizeof(float)), 0)
        << "rank " << rank;
  }
}

TEST_P(OverTransports, BroadcastGivesEveryRankTheRootsBytes) {
  for (const int root : {0, 2}) {
    run_ranks(
        4,
        [root](Group& group) {
          auto values = make_values<float>(5000, group.rank());
          RONDO_ASSERT_OK(broadcast(group, view(values), Root{root}).wait(in_seconds(20)));
          for (int64_t i = 0; i < 5000; ++i)
            ASSERT_EQ(values[static_cast<size_t>(i)], contribution<float>(root, i)) << i;
        },
        options(1024));
  }
}

TEST_P(OverTransports, AllGatherKeepsRankOrder) {
  run_ranks(
      5,
      [](Group& group) {
        auto mine = make_values<int64_t>(33, group.rank());
        std::vector<int64_t> all(5 * 33);
        RONDO_ASSERT_OK(all_gather(group, view(mine), view(all)).wait(in_seconds(20)));
        for (int r = 0; r < 5; ++r) {
          for (int64_t i = 0; i < 33; ++i) ASSERT_EQ(all[static_cast<size_t>(r * 33 + i)], contribution<int64_t>(r, i));
        }
      },
      options(64));
}

TEST_P(OverTransports, WorksInFlightFinishInAnyOrderOfWaiting) {
  run_ranks(
      3,
      [](Group& group) {
        auto a = make_values<float>(1000, group.rank());
        auto b = make_values<float>(10, group.rank());
        Work first = all_reduce(group, view(a), ReduceOp::kSum, {.tag = "a"});
        Work second = all_reduce(group, view(b), ReduceOp::kSum, {.tag = "b"});
        RONDO_ASSERT_OK(second.wait(in_seconds(20)));
        RONDO_ASSERT_OK(first.wait(in_seconds(20)));
        for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(a[static_cast<size_t>(i)], sum_over_ranks<float>(3, i));
        for (int64_t i = 0; i < 10; ++i) ASSERT_EQ(b[static_cast<size_t>(i)], sum_over_ranks<float>(3, i));
      },
      options(128));
}

TEST_P(OverTransports, AMismatchNamesBothSidesOnEveryRank) {
  run_ranks(
      3,
      [](Group& group) {
        std::vector<float> values(group.rank() == 1 ? 8 : 16);
        const Status status = all_reduce(group, view(values), ReduceOp::kSum, {.tag = "bucket 0"}).wait(in_seconds(20));
        EXPECT_EQ(status.code(), Code::kMismatch) << status.text();
        EXPECT_NE(status.text().find("8 float32"), std::string::npos) << status.text();
        EXPECT_NE(status.text().find("16 float32"), std::string::npos) << status.text();
        EXPECT_NE(status.text().find("rank 1"), std::string::npos) << status.text();
        // The group has ended: later calls say why at once.
        const Status later = barrier(group).wait(in_seconds(5));
        EXPECT_EQ(later.code(), Code::kMismatch) << later.text();
      },
      options());
}

TEST_P(OverTransports, ARankThatNeverCallsIsNamedByTheTimeoutOnEveryRank) {
  for (const int n : {2, 4}) {
    RankOptions slow = options();
    slow.group.operation_timeout = std::chrono::milliseconds(300);
    test::run_endpoints(
        n,
        [&](Endpoint& endpoint) {
          auto group = Group::create(endpoint, slow.group, in_seconds(10));
          RONDO_ASSERT_OK(group);
          std::vector<float> one(1);
          if (endpoint.at().rank == 1) {
            // Makes no call until the others' timeout has ended the group.
            const Deadline deadline = in_seconds(10);
            while (endpoint.state()->page()->abort_version() == 0 && !deadline.passed(Clock::now())) {
              endpoint.env().idle({}, std::chrono::milliseconds(5));
            }
          }
          const Status status = all_reduce(*group, view(one), ReduceOp::kSum, {.tag = "lonely"}).wait(in_seconds(10));
          EXPECT_EQ(status.code(), Code::kTimeout) << status.text();
          EXPECT_EQ(status.where().peer, 1) << status.text();
          EXPECT_NE(status.text().find("not in this call: rank 1."), std::string::npos) << status.text();
          EXPECT_NE(status.text().find("lonely"), std::string::npos) << status.text();
        },
        slow);
  }
}

TEST_P(OverTransports, ABarrierHoldsEveryRankUntilTheLastHasCome) {
  std::atomic<int> arrived{0};
  run_ranks(
      4,
      [&](Group& group) {
        if (group.rank() == 3) group.state()->endpoint().env().idle({}, std::chrono::milliseconds(50));
        arrived.fetch_add(1);
        RONDO_ASSERT_OK(barrier(group).wait());
        EXPECT_EQ(arrived.load(), 4);
      },
      options());
}

TEST_P(OverTransports, AGroupDroppedWithoutCloseIsALeaveInOrderAndItsNameIsFree) {
  run_ranks(
      3,
      [](Group& world) {
        for (int round = 0; round < 5; ++round) {
          auto group = world.split({.options = {.name = "short-lived"}}, in_seconds(10));
          RONDO_ASSERT_OK(group);
          std::vector<int64_t> one{1};
          RONDO_ASSERT_OK(all_reduce(*group, view(one), ReduceOp::kSum).wait());
          EXPECT_EQ(one[0], 3);
        }
      },
      options());
}

TEST_P(OverTransports, AnAbortEndsEveryWaitAndNamesWhoAsked) {
  run_ranks(
      3,
      [](Group& group) {
        if (group.rank() == 2) {
          group.abort("the user changed his mind");
          return;
        }
        std::vector<float> values(4);
        const Status status = all_reduce(group, view(values), ReduceOp::kSum).wait(in_seconds(10));
        EXPECT_EQ(status.code(), Code::kAborted) << status.text();
        EXPECT_EQ(status.where().peer, 2) << status.text();
        EXPECT_NE(status.text().find("changed his mind"), std::string::npos) << status.text();
      },
      options());
}

TEST_P(OverTransports, DroppedWorkAbortsItsGroup) {
  run_ranks(
      2,
      [](Group& group) {
        std::vector<float> values(4);
        if (group.rank() == 0) {
          {
            const Work dropped = all_reduce(group, view(values), ReduceOp::kSum);
          }
          EXPECT_EQ(barrier(group).wait(in_seconds(5)).code(), Code::kAborted);
        } else {
          // This rank asks for something else later, so the other's work cannot have finished.
          const Deadline deadline = in_seconds(10);
          while (group.state()->endpoint().page()->abort_version() == 0 && !deadline.passed(Clock::now())) {
            group.state()->endpoint().env().idle({}, std::chrono::milliseconds(5));
          }
          const Status status = all_reduce(group, view(values), ReduceOp::kSum).wait(in_seconds(10));
          EXPECT_EQ(status.code(), Code::kAborted) << status.text();
          EXPECT_NE(status.text().find("rank 0 dropped unfinished work"), std::string::npos) << status.text();
        }
      },
      options());
}

TEST(AllReduceArguments, AnErrorAtLaunchIsWhatWaitReturns) {
  run_ranks(1, [](Group& group) {
    std::vector<float> values(3);
    EXPECT_EQ(broadcast(group, view(values), Root{7}).wait().code(), Code::kInvalidArgument);
    const auto twin = group.split({.options = {.name = "a"}}, in_seconds(5));
    RONDO_ASSERT_OK(twin);
    const auto other = group.split({.options = {.name = "a"}}, in_seconds(5));
    ASSERT_FALSE(other.ok());
    EXPECT_NE(other.status().text().find("a live group named \"a\""), std::string::npos) << other.status().text();
    RONDO_ASSERT_OK(group.close(in_seconds(5)));
    EXPECT_EQ(barrier(group).wait().code(), Code::kClosed);
  });
}

TEST(AllReduceArguments, BadInputIsRefusedAtLaunchWithARank) {
  run_ranks(1, [](Group& group) {
    std::vector<float> values(3);
    const auto code = [&](const Status& status) {
      EXPECT_EQ(status.where().rank, 0) << status.text();
      return status.code();
    };
    EXPECT_EQ(code(all_reduce(group, {nullptr, 3, DType::kFloat32}, ReduceOp::kSum).status()), Code::kInvalidArgument);
    EXPECT_EQ(code(all_reduce(group, {values.data(), -1, DType::kFloat32}, ReduceOp::kSum).status()),
              Code::kInvalidArgument);
    EXPECT_EQ(code(all_reduce(group, view(values), ReduceOp::kWeightedMean, {.weight = -1}).status()),
              Code::kInvalidArgument);
    EXPECT_EQ(code(all_reduce(group, view(values), ReduceOp::kBitOr).status()), Code::kUnsupported);
    EXPECT_EQ(code(broadcast(group, view(values), Root{1}).status()), Code::kInvalidArgument);
    std::vector<float> small(2);
    EXPECT_EQ(code(all_gather(group, view(values), view(small)).status()), Code::kInvalidArgument);
  });
}

TEST(PushAllReduce, EqualsTheClosedFormOverRegisteredMemory) {
  for (const int n : {2, 3, 5, 8}) {
    run_ranks(
        n,
        [n](Group& group) {
          const int64_t count = 131;
          auto region = group.allocate(count * sizeof(float), "test buffer");
          RONDO_ASSERT_OK(region);
          RONDO_ASSERT_OK(barrier(group).wait(in_seconds(20)));
          auto* values = reinterpret_cast<float*>(region->bytes().data());
          for (int round = 0; round < 3; ++round) {
            for (int64_t i = 0; i < count; ++i) values[i] = contribution<float>(group.rank(), i + round);
            RONDO_ASSERT_OK(all_reduce(group, {values, count, DType::kFloat32}, ReduceOp::kSum).wait(in_seconds(20)));
            for (int64_t i = 0; i < count; ++i) ASSERT_EQ(values[i], sum_over_ranks<float>(n, i + round)) << i;
          }
          RONDO_ASSERT_OK(barrier(group).wait(in_seconds(20)));
        },
        {.group = {.algorithm = "push"}});
  }
}

TEST(PushAllReduce, WeighsOperandsAndSkipsThoseOfWeightZero) {
  for (const int n : {2, 3, 5, 8}) {
    for (const int silent : {0, 1, n - 1}) {
      run_ranks(n,
                [n, silent](Group& group) {
                  const int64_t count = 67;
                  auto region = group.allocate(count * sizeof(double), "test buffer");
                  RONDO_ASSERT_OK(region);
                  RONDO_ASSERT_OK(barrier(group).wait(in_seconds(20)));
                  auto* values = reinterpret_cast<double*>(region->bytes().data());
                  const auto weight_of = [&](int rank) { return rank == silent ? 0.0 : rank + 1.0; };
                  for (int64_t i = 0; i < count; ++i) {
                    values[i] = group.rank() == silent
                                    ? std::numeric_limits<double>::quiet_NaN()
                                    : weight_of(group.rank()) * contribution<double>(group.rank(), i);
                  }
                  RONDO_ASSERT_OK(all_reduce(group, {values, count, DType::kFloat64}, ReduceOp::kWeightedMean,
                                             {.weight = weight_of(group.rank())})
                                      .wait(in_seconds(20)));
                  for (int64_t i = 0; i < count; ++i) {
                    double sum = 0, total = 0;
                    for (int r = 0; r < n; ++r) {
                      sum += weight_of(r) * contribution<double>(r, i);
                      total += weight_of(r);
                    }
                    ASSERT_EQ(values[i], sum / total) << i;
                  }
                  RONDO_ASSERT_OK(barrier(group).wait(in_seconds(20)));
                },
                {.group = {.algorithm = "push"}});
    }
  }
}

TEST(PushAllReduce, MemoryThatIsNotRegisteredIsRefusedWithTheCure) {
  run_ranks(2,
            [](Group& group) {
              std::vector<float> values(4);
              const Status status = all_reduce(group, view(values), ReduceOp::kSum).status();
              EXPECT_EQ(status.code(), Code::kUnsupported) << status.text();
              EXPECT_NE(status.text().find("group.allocate()"), std::string::npos) << status.text();
            },
            {.group = {.algorithm = "push"}});
}

}  // namespace
}  // namespace rondo::comm
