/// What every algorithm that sends messages must do, with fake ranks in one thread.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "rondo/comm/algorithms.h"
#include "rondo/comm/collectives.h"
#include "tests/support/fake_world.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;
using test::FakeWorld;

std::vector<std::string> that_serve(Goal goal) {
  std::vector<std::string> names;
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.serves(goal) && algorithm.means == Means::kMessages) names.emplace_back(algorithm.name);
  }
  return names;
}

int weight_of(int rank, int round) { return (rank + round) % 3; }

/// Round `round` of a weighted mean: a rank of weight 0 hands in what must not matter, others the total weight times
/// their contribution, so that the mean is the sum of these.
void expect_weighted_mean(FakeWorld& world, std::vector<Group>& groups, int64_t element_count, int round) {
  const int n = world.rank_count();
  int total = 0;
  for (int rank = 0; rank < n; ++rank) total += weight_of(rank, round);
  const auto contribution = [&](int rank, int64_t i) { return (rank + 1) * 1000 + i % 97 + round; };
  std::vector<std::vector<double>> values(static_cast<size_t>(n));
  std::vector<Work> works;
  for (int rank = 0; rank < n; ++rank) {
    auto& mine = values[static_cast<size_t>(rank)];
    for (int64_t i = 0; i < element_count; ++i) {
      const bool counts = weight_of(rank, round) > 0;
      mine.push_back(counts ? static_cast<double>(total * contribution(rank, i)) : -1e30);
    }
    works.push_back(all_reduce(groups[static_cast<size_t>(rank)], view(mine), ReduceOp::kWeightedMean,
                               {.weight = static_cast<double>(weight_of(rank, round))}));
  }
  ASSERT_TRUE(world.run([&](size_t rank) { return world.go_on(rank, works[rank]); }, 5s));
  for (size_t rank = 0; rank < works.size(); ++rank) {
    RONDO_ASSERT_OK(works[rank].status());
    for (int64_t i = 0; i < element_count; ++i) {
      int64_t expected = 0;
      for (int each = 0; each < n; ++each) expected += weight_of(each, round) > 0 ? contribution(each, i) : 0;
      ASSERT_EQ(values[rank][static_cast<size_t>(i)], static_cast<double>(expected)) << "rank " << rank << ", " << i;
    }
  }
}

class EveryAlgorithm : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(OneThread, EveryAlgorithm,
                         testing::Values(TransportKind::kInproc, TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(EveryAlgorithm, DividesByTheWeightsOfAllRanksCallAfterCall) {
  for (const std::string& algorithm : that_serve(Goal::kAllReduce)) {
    for (int n = 2; n <= 9; ++n) {
      FakeWorld world(n, {.transport = GetParam()});
      auto groups = world.form({.algorithm = algorithm, .segment_bytes = 64});
      int round = 0;
      for (const int64_t element_count : {1, n, 3 * n + 1, 97}) {
        SCOPED_TRACE(algorithm + ", " + std::to_string(n) + " ranks, " + std::to_string(element_count) + " elements");
        expect_weighted_mean(world, groups, element_count, round++);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(EveryAlgorithm, OfABroadcastTellsAllThatOneRankMeansAnotherRoot) {
  for (const std::string& algorithm : that_serve(Goal::kBroadcast)) {
    for (const int n : {2, 3, 5}) {
      for (int root = 0; root < n; ++root) {
        for (int other_root = 0; other_root < n; ++other_root) {
          if (other_root == root) continue;
          for (size_t other = 0; other < static_cast<size_t>(n); ++other) {
            SCOPED_TRACE(algorithm + ", " + std::to_string(n) + " ranks, root " + std::to_string(root) + ", rank " +
                         std::to_string(other) + " says " + std::to_string(other_root));
            FakeWorld world(n, {.transport = GetParam()});
            auto groups = world.form({.algorithm = algorithm});
            std::vector<std::vector<float>> values(static_cast<size_t>(n), std::vector<float>(3, 1));
            std::vector<Work> works;
            for (size_t rank = 0; rank < groups.size(); ++rank) {
              works.push_back(broadcast(groups[rank], view(values[rank]), {rank == other ? other_root : root}));
            }
            ASSERT_TRUE(world.run([&](size_t rank) { return world.go_on(rank, works[rank]); }, 5s));
            int mismatches = 0;
            for (const Work& work : works) {
              if (work.status().ok()) continue;  // had its part before anyone saw it
              EXPECT_EQ(work.status().code(), Code::kMismatch) << work.status().text();
              EXPECT_NE(work.status().text().find("rank " + std::to_string(other)), std::string::npos);
              ++mismatches;
            }
            EXPECT_GE(mismatches, 1);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace rondo::comm
