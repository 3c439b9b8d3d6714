/// All canonical ways to reduce give the bits of the scalar reference: whatever the transport, the algorithm, the
/// length of segments and the kind of memory. Fake ranks in one thread, so that a world of nine is cheap.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "comm/kernels/reference.h"
#include "rondo/comm/algorithms.h"
#include "rondo/comm/collectives.h"
#include "tests/comm/kernels/elements.h"
#include "tests/support/fake_world.h"
#include "tests/support/run_ranks.h"
#include "tests/support/soak.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;
using test::FakeWorld;

enum class Memory : uint8_t { kPlain, kRegistered };

/// One way to reduce.
struct Way {
  std::string algorithm;  // empty: what the transport takes by itself
  Memory memory = Memory::kPlain;
  int64_t segment_bytes = 0;
  std::string describe() const {
    return (algorithm.empty() ? "no rule" : algorithm) + ", segments of " + std::to_string(segment_bytes) +
           (memory == Memory::kRegistered ? " bytes, registered" : " bytes, plain");
  }
};

/// Every algorithm that sums `n` ranks in canonical order, with every length of segments; where ranks share memory, its
/// own ways, too.
std::vector<Way> canonical_ways(TransportKind transport, int n) {
  std::vector<Way> ways;
  for (const int64_t segment_bytes : {int64_t{64}, int64_t{4096}, GroupOptions().segment_bytes}) {
    for (const Algorithm& algorithm : algorithms()) {
      if (!algorithm.serves(Goal::kAllReduce)) continue;
      if (algorithm.means == Means::kRegions && transport == TransportKind::kTcp) continue;
      const auto order = order_of({.algorithm = algorithm.name, .shape = {.at = {.rank = 0, .world_size = n}}});
      if (!order.ok() || *order != Order::kCanonical) continue;
      const bool regions = algorithm.means == Means::kRegions;
      ways.push_back({std::string(algorithm.name), regions ? Memory::kRegistered : Memory::kPlain, segment_bytes});
    }
  }
  if (transport == TransportKind::kShm) ways.push_back({"", Memory::kRegistered, GroupOptions().segment_bytes});
  ways.push_back({"", Memory::kPlain, GroupOptions().segment_bytes});
  return ways;
}

struct Case {
  DType type = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int64_t count = 0;
  uint64_t seed = 0;
  bool mean() const { return op == ReduceOp::kWeightedMean; }
  size_t byte_count() const { return static_cast<size_t>(count) * byte_width(type); }
  std::string describe() const {
    return std::string(name(op)) + " of " + std::to_string(count) + " " + std::string(name(type)) + ", seed " +
           std::to_string(seed);
  }
};

double weight_of(const Case& of, size_t rank) {
  return static_cast<double>((rank + of.seed) % 4) * 0.75;  // some are 0
}

/// NaN, infinite, denormal and any other bits.
std::vector<std::byte> operand(const Case& of, size_t rank) {
  std::vector<std::byte> bytes(of.byte_count());
  const size_t width = byte_width(of.type);
  for (size_t i = 0; i < static_cast<size_t>(of.count); ++i) {
    const uint64_t bits = drawn_bits(of.type, of.seed * 16 + rank, i);
    std::memcpy(bytes.data() + i * width, &bits, width);
  }
  return bytes;
}

std::vector<std::byte> expected(const Case& of, const std::vector<std::vector<std::byte>>& inputs) {
  std::vector<const std::byte*> operands;
  double weights = 0;
  for (size_t rank = 0; rank < inputs.size(); ++rank) {
    operands.push_back(of.mean() && weight_of(of, rank) == 0 ? nullptr : inputs[rank].data());
    weights += weight_of(of, rank);
  }
  std::vector<std::byte> result(of.byte_count());
  std::byte* const outputs[] = {result.data()};
  EXPECT_TRUE(reference::reduce_many({.dtype = of.type,
                                      .op = of.op,
                                      .operands = operands,
                                      .divisor = weights,
                                      .outputs = outputs,
                                      .element_count = of.count})
                  .ok());
  return result;
}

/// Draws by its arguments alone, so that a round can be run again.
size_t draw(uint64_t seed, size_t among) { return drawn_bits(DType::kInt64, seed, 1) % among; }

/// A case of `type`: reduction and count are drawn.
Case drawn_case(DType type, const Way& way, int n, uint64_t seed) {
  std::vector<ReduceOp> ops;
  std::copy_if(std::begin(kAllOps), std::end(kAllOps), std::back_inserter(ops),
               [type](ReduceOp op) { return supports(type, op); });
  const int64_t segment = way.segment_bytes / static_cast<int64_t>(byte_width(type));
  std::vector<int64_t> counts{0, 1, n - 1, n, n + 1, 13, 101};
  for (const int64_t count : {segment + 1, n * segment + 1, 3 * segment + 7}) {
    if (count < 5000 || (count < 70'000 && type == DType::kFloat32)) counts.push_back(count);
  }
  return {
      .type = type, .op = ops[draw(seed, ops.size())], .count = counts[draw(seed + 1, counts.size())], .seed = seed};
}

/// The results of all ranks.
std::vector<std::vector<std::byte>> reduce(FakeWorld& world, std::vector<Group>& groups, Memory memory, const Case& of,
                                           const std::vector<std::vector<std::byte>>& inputs) {
  std::vector<std::vector<std::byte>> plain = inputs;
  std::vector<Region> regions;
  std::vector<Work> works;
  const auto at = [&](size_t rank) {
    return memory == Memory::kRegistered ? regions[rank].bytes().data() : plain[rank].data();
  };
  for (size_t rank = 0; rank < groups.size(); ++rank) {
    if (memory == Memory::kRegistered) {
      auto region = groups[rank].allocate(std::max<size_t>(of.byte_count(), 1), "same bits");
      EXPECT_TRUE(region.ok()) << region.status().text();
      regions.push_back(std::move(*region));
      std::copy(inputs[rank].begin(), inputs[rank].end(), at(rank));
    }
  }
  for (size_t rank = 0; rank < groups.size(); ++rank) {
    works.push_back(all_reduce(groups[rank], {at(rank), of.count, of.type}, of.op, {.weight = weight_of(of, rank)}));
  }
  EXPECT_TRUE(world.run([&](size_t rank) { return world.go_on(rank, works[rank]); }, 5s));
  for (size_t rank = 0; rank < groups.size(); ++rank) {
    EXPECT_TRUE(works[rank].status().ok()) << works[rank].status().text();
    std::copy(at(rank), at(rank) + of.byte_count(), plain[rank].data());
  }
  return plain;
}

class SameBits : public testing::TestWithParam<std::tuple<TransportKind, int>> {};
INSTANTIATE_TEST_SUITE_P(Worlds, SameBits,
                         testing::Combine(testing::Values(TransportKind::kInproc, TransportKind::kShm,
                                                          TransportKind::kTcp),
                                          testing::Range(2, 10)),
                         [](const auto& each) {
                           return std::string(name(std::get<0>(each.param))) + std::to_string(std::get<1>(each.param));
                         });

TEST_P(SameBits, AsTheReferenceInEveryCanonicalWay) {
  const auto [transport, n] = GetParam();
  const auto [first, count] = test::soak_rounds(1);
  for (uint64_t round = first; round < first + count; ++round) {
    uint64_t seed = (round * 16 + static_cast<uint64_t>(n)) * 4096;
    for (const Way& way : canonical_ways(transport, n)) {
      FakeWorld world(n, {.transport = transport});
      auto groups = world.form({.algorithm = way.algorithm, .segment_bytes = way.segment_bytes});
      for (const DType type : kAllTypes) {
        const Case tested = drawn_case(type, way, n, seed += 2);
        SCOPED_TRACE(way.describe() + ": " + tested.describe() + ", round " + std::to_string(round));
        std::vector<std::vector<std::byte>> inputs;
        for (size_t rank = 0; rank < groups.size(); ++rank) inputs.push_back(operand(tested, rank));
        const auto wanted = expected(tested, inputs);
        const auto got = reduce(world, groups, way.memory, tested, inputs);
        for (size_t rank = 0; rank < groups.size(); ++rank) ASSERT_EQ(got[rank], wanted) << "rank " << rank;
      }
    }
  }
}

/// Over sockets and mappings of the kernel's, a thread a rank.
class SameBitsOfThreads : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(Real, SameBitsOfThreads, testing::Values(TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(SameBitsOfThreads, AsTheReferenceForEveryType) {
  constexpr int kRanks = 5;
  const auto tested = [](DType type, uint64_t turn) {
    const Way way{.segment_bytes = 4096};
    return drawn_case(type, way, kRanks, 2 * (turn * std::size(kAllTypes) + static_cast<uint64_t>(type)));
  };
  test::run_ranks(
      kRanks,
      [&](Group& group) {
        for (uint64_t turn = 0; turn < 6; ++turn) {
          for (const DType type : kAllTypes) {
            const Case each = tested(type, turn);
            std::vector<std::vector<std::byte>> inputs;
            for (size_t rank = 0; rank < kRanks; ++rank) inputs.push_back(operand(each, rank));
            const auto me = static_cast<size_t>(group.rank());
            std::vector<std::byte> mine = inputs[me];
            RONDO_ASSERT_OK(all_reduce(group, {mine.data(), each.count, type}, each.op, {.weight = weight_of(each, me)})
                                .wait(in_seconds(30)));
            ASSERT_EQ(mine, expected(each, inputs)) << each.describe();
          }
        }
      },
      {.transport = GetParam(), .group = {.segment_bytes = 4096}, .mappings = test::RankOptions::Mappings::kOwn});
}

TEST(SameBitsWays, AreOfAllKindsForEveryNumberOfRanks) {
  for (int n = 2; n <= 9; ++n) {
    const auto ways = canonical_ways(TransportKind::kInproc, n);
    const auto has = [&](const char* algorithm) {
      return std::ranges::count(ways, algorithm, &Way::algorithm) == 3;  // one a length of segments
    };
    for (const char* algorithm : {"direct", "one-shot", "push", "hierarchical"}) EXPECT_TRUE(has(algorithm)) << n;
    EXPECT_FALSE(has("ring")) << n;
    EXPECT_TRUE(has("halving") || !std::has_single_bit(static_cast<unsigned>(n))) << n;
  }
}

}  // namespace
}  // namespace rondo::comm
