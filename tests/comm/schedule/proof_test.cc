/// The checker on every algorithm. Set RONDO_SOAK to prove all world sizes to 64 with all sizes of buffers; without it
/// the large ones take turns.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "rondo/comm/schedule_check.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm {
namespace {

using test::Case;

bool soaks() { return std::getenv("RONDO_SOAK") != nullptr; }

std::vector<int> world_sizes() {
  std::vector<int> all;
  for (int n = 1; n <= 64; ++n) all.push_back(n);
  if (soaks()) return all;
  return {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 31, 32, 33, 48, 63, 64};
}

struct Shape {
  int64_t elements;
  int64_t segment;
};

/// Few elements leave chunks or segments empty; larger counts give every chunk several segments and one element more.
/// `parts` is what an algorithm cuts into segments: n chunks, or one whole buffer. For many ranks each n takes its turn
/// at some of them, for the work grows with the square of n.
std::vector<Shape> shapes(int n, int parts) {
  const int64_t segment = 3;
  std::vector<Shape> all{{0, segment},
                         {1, segment},
                         {parts * segment + 1, segment},  // one past a segment
                         {n - 1, std::max<int64_t>(1, n / 4)},
                         {n, std::max<int64_t>(1, n / 4)},
                         {n + 1, std::max<int64_t>(1, n / 4)},
                         {97, 97 / parts / 4 + 1},
                         {5 * parts * segment + parts / 2, segment},
                         {9 * parts * segment + 1, segment}};
  if (n <= 9 || soaks()) return all;
  const auto turn = static_cast<size_t>(n % 3);
  return {all[turn + 1], all[turn + 4], all[n % 32 == 0 ? 8 : 7]};
}

testing::AssertionResult is_proven(const Case& c) {
  const auto proof = check_schedules({.root = c.root, .host_of_rank = c.host_of_rank, .ranks = test::schedules_of(c)});
  if (!proof.ok()) return testing::AssertionFailure() << test::text(c) << ": " << proof.status().text();
  return testing::AssertionSuccess();
}

enum class Cut { kChunks, kWhole };

void prove(Case c, Cut cut) {
  for (const int n : world_sizes()) {
    for (const Shape& shape : shapes(n, cut == Cut::kChunks ? n : 1)) {
      c.n = n;
      c.elements = shape.elements;
      c.segment = shape.segment;
      ASSERT_TRUE(is_proven(c));
    }
  }
}

TEST(Proof, OfRingAllReduce) { prove({.algorithm = "ring"}, Cut::kChunks); }
TEST(Proof, OfRingReduceScatter) { prove({.goal = Goal::kReduceScatter, .algorithm = "ring"}, Cut::kChunks); }
TEST(Proof, OfRingAllGather) { prove({.goal = Goal::kAllGather, .algorithm = "ring"}, Cut::kChunks); }

TEST(Proof, OfDirectAllReduce) { prove({.algorithm = "direct"}, Cut::kChunks); }
TEST(Proof, OfDirectAllReduceOnANarrowWire) { prove({.algorithm = "direct", .wire = Wire::kNarrow}, Cut::kChunks); }
TEST(Proof, OfDirectReduceScatter) { prove({.goal = Goal::kReduceScatter, .algorithm = "direct"}, Cut::kChunks); }
TEST(Proof, OfDirectReduceScatterOnANarrowWire) {
  prove({.goal = Goal::kReduceScatter, .algorithm = "direct", .wire = Wire::kNarrow}, Cut::kChunks);
}
TEST(Proof, OfDirectAllGather) { prove({.goal = Goal::kAllGather, .algorithm = "direct"}, Cut::kChunks); }

TEST(Proof, OfPushAllReduce) { prove({.algorithm = "push"}, Cut::kChunks); }
TEST(Proof, OfOneShotAllReduce) { prove({.algorithm = "one-shot"}, Cut::kWhole); }
TEST(Proof, OfOneShotAllReduceOnANarrowWire) { prove({.algorithm = "one-shot", .wire = Wire::kNarrow}, Cut::kWhole); }
TEST(Proof, OfChainAllReduce) { prove({.algorithm = "chain"}, Cut::kWhole); }
TEST(Proof, OfHalvingAllReduce) { prove({.algorithm = "halving"}, Cut::kWhole); }
TEST(Proof, OfParameterServerAllReduce) { prove({.algorithm = "parameter-server"}, Cut::kWhole); }
TEST(Proof, OfParameterServerAllReduceOnANarrowWire) {
  prove({.algorithm = "parameter-server", .wire = Wire::kNarrow}, Cut::kWhole);
}

TEST(Proof, OfBroadcastsFromAnyRoot) {
  for (const char* algorithm : {"chain", "direct", "tree"}) {
    for (const int n : world_sizes()) {
      for (const Shape& shape : shapes(n, 1)) {
        for (const int root : std::set<int>{0, n / 2, n - 1}) {
          ASSERT_TRUE(is_proven({.goal = Goal::kBroadcast,
                                 .algorithm = algorithm,
                                 .n = n,
                                 .elements = shape.elements,
                                 .segment = shape.segment,
                                 .root = root}));
        }
      }
    }
  }
}

/// Hosts of `ranks_a_host` in blocks or dealt out in turn, and one large host beside small ones.
std::vector<std::vector<int>> layouts(int n) {
  std::vector<std::vector<int>> all;
  const auto add = [&](auto host_of) {
    std::vector<int>& hosts = all.emplace_back();
    for (int rank = 0; rank < n; ++rank) hosts.push_back(host_of(rank));
  };
  for (const int ranks_a_host : {1, 2, 3, 4, 8, 16}) {
    if (ranks_a_host > n) break;
    add([&](int rank) { return rank / ranks_a_host; });
    add([&](int rank) { return rank % ranks_a_host; });
  }
  add([&](int rank) { return rank < n - n / 4 ? 0 : rank < n - n / 8 ? 1 : 2; });
  add([&](int rank) { return rank < n / 8 ? 9 : rank < n / 4 ? 1 : 5; });
  return all;
}

TEST(Proof, OfHierarchicalAllReduceOverManyLayouts) {
  for (const int n : world_sizes()) {
    const auto all = layouts(n);
    for (size_t i = 0; i < all.size(); ++i) {
      if (n > 9 && !soaks() && i % 5 != static_cast<size_t>(n) % 5) continue;
      const int slices = std::max(1, n / 4);
      for (const Shape& shape : shapes(n, slices)) {
        ASSERT_TRUE(is_proven({.algorithm = "hierarchical",
                               .n = n,
                               .elements = shape.elements,
                               .segment = shape.segment,
                               .host_of_rank = all[i]}));
      }
    }
  }
}

TEST(Proof, OfWholeBucketsDoesNotLookAtEveryElement) {
  for (const char* algorithm : {"ring", "direct", "push", "hierarchical"}) {
    EXPECT_TRUE(is_proven({.algorithm = algorithm,
                           .n = 4,
                           .elements = (int64_t{25} << 18) + 3,
                           .segment = 64 * 1024,
                           .host_of_rank = {0, 0, 1, 1}}));
  }
}

// Larger ones have more actions, because a message must fit a frame: huge_test.cc.
TEST(Proof, OfLargeBuffersStaysBounded) {
  for (const Algorithm& algorithm : algorithms()) {
    for (const Goal goal : algorithm.goals) {
      const Case c{.goal = goal,
                   .algorithm = std::string(algorithm.name),
                   .n = 3,
                   .elements = (int64_t{1} << 36) - 1,
                   .segment = 64 * 1024,
                   .host_of_rank = {0, 0, 1}};
      for (const Schedule& schedule : test::schedules_of(c)) {
        EXPECT_LE(schedule.actions.size(), 70000U) << test::text(c);
      }
      if (algorithm.name == "direct" || soaks()) {
        EXPECT_TRUE(is_proven(c));
      }
    }
  }
}

TEST(Proof, CountsWhatItLookedAt) {
  const auto proof = check_schedules({.ranks = test::schedules_of({.algorithm = "ring", .n = 4, .elements = 4})});
  ASSERT_TRUE(proof.ok()) << proof.status().text();
  EXPECT_EQ(proof->messages, 4 * 6);
  EXPECT_EQ(proof->actions, 4 * (6 + 6 + 3));
  EXPECT_EQ(proof->accesses, 4 * (6 + 6 + 3 * 3));
}

}  // namespace
}  // namespace rondo::comm
