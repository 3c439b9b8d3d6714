/// Collectives of ranks that share memory: every way that data can go (on the line, in a slot, registered, staged)
/// gives the bits of the scalar reference, in canonical order; and memory is safe from ranks that come late.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "comm/group/group_state.h"
#include "comm/kernels/kernels.h"
#include "comm/kernels/reference.h"
#include "rondo/comm/collectives.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::RankOptions;
using test::run_endpoints;
using test::run_ranks;

constexpr std::array kTypes{DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                            DType::kInt32,   DType::kInt64,   DType::kUInt8};
constexpr std::array kOps{ReduceOp::kSum,     ReduceOp::kWeightedMean, ReduceOp::kMin,  ReduceOp::kMax,
                          ReduceOp::kProduct, ReduceOp::kBitAnd,       ReduceOp::kBitOr};

enum class Memory : uint8_t { kRegistered, kPlain, kMixed };

// Different for every rank and index; floating values whose sums depend on the order.
std::vector<std::byte> operand(DType type, int rank, int64_t count, int64_t first = 0) {
  std::vector<std::byte> bytes(static_cast<size_t>(count) * byte_width(type));
  for (int64_t i = 0; i < count; ++i) {
    const double value = std::sin(static_cast<double>((first + i) * 7 + rank * 131 + 1)) * (rank % 3 == 1 ? 1e3 : 1.5);
    std::byte* at = bytes.data() + static_cast<size_t>(i) * byte_width(type);
    const auto single = static_cast<float>(value);
    const auto whole = static_cast<int64_t>(value * 1e4);
    if (type == DType::kFloat64) std::memcpy(at, &value, 8);
    if (type == DType::kFloat32) std::memcpy(at, &single, 4);
    if (type == DType::kFloat16 || type == DType::kBFloat16) narrow(&single, type, at, 1);
    if (!is_floating(type)) std::memcpy(at, &whole, byte_width(type));
  }
  return bytes;
}

double weight_of(int rank) { return rank == 2 ? 0.0 : rank + 0.5; }

// The reduction of elements [first, first + count), by the reference.
std::vector<std::byte> expected(DType type, ReduceOp op, int n, int64_t count, int64_t first = 0) {
  std::vector<std::vector<std::byte>> inputs;
  std::vector<const std::byte*> operands;
  double weights = 0;
  for (int rank = 0; rank < n; ++rank) inputs.push_back(operand(type, rank, count, first));
  for (int rank = 0; rank < n; ++rank) {
    const bool skipped = op == ReduceOp::kWeightedMean && weight_of(rank) == 0;
    operands.push_back(skipped ? nullptr : inputs[static_cast<size_t>(rank)].data());
    weights += weight_of(rank);
  }
  std::vector<std::byte> result(static_cast<size_t>(count) * byte_width(type));
  std::byte* const outputs[] = {result.data()};
  EXPECT_TRUE(reference::reduce_many({.dtype = type,
                                      .op = op,
                                      .operands = operands,
                                      .divisor = weights,
                                      .outputs = outputs,
                                      .element_count = count})
                  .ok());
  return result;
}

// A buffer of this rank: from the group, or not.
class Buffer {
 public:
  Buffer(Group& group, Memory memory, size_t byte_count) : plain_(byte_count) {
    auto region = group.allocate(byte_count, "test buffer");  // on all ranks, so that regions have equal numbers
    EXPECT_TRUE(region.ok()) << region.status().text();
    if (!region.ok()) return;
    region_ = std::move(*region);
    registered_ = memory == Memory::kRegistered || (memory == Memory::kMixed && group.rank() % 2 == 0);
  }
  std::byte* data() { return registered_ ? region_.bytes().data() : plain_.data(); }
  void fill(const std::vector<std::byte>& bytes) { std::copy(bytes.begin(), bytes.end(), data()); }
  std::vector<std::byte> content() { return {data(), data() + plain_.size()}; }

 private:
  std::vector<std::byte> plain_;
  Region region_;
  bool registered_ = false;
};

class SharedMemory : public testing::TestWithParam<Memory> {};
std::string memory_name(const testing::TestParamInfo<Memory>& each) {
  constexpr std::array kNames{"Registered", "Plain", "Mixed"};
  return kNames[static_cast<size_t>(each.param)];
}
INSTANTIATE_TEST_SUITE_P(Collectives, SharedMemory,
                         testing::Values(Memory::kRegistered, Memory::kPlain, Memory::kMixed), memory_name);

const RankOptions kShared{.transport = TransportKind::kShm};

TEST_P(SharedMemory, AllReduceHasTheBitsOfTheReferenceForEveryTypeAndReduction) {
  const Memory memory = GetParam();
  for (const int n : {1, 2, 3, 4, 5, 7, 9}) {
    run_ranks(
        n,
        [&](Group& group) {
          for (const DType type : kTypes) {
            for (const ReduceOp op : kOps) {
              if (!supports(type, op)) continue;
              // On the line, in a slot, and past it.
              for (const int64_t count : {int64_t{1}, int64_t{5}, int64_t{211}, int64_t{2053}}) {
                const auto mine = operand(type, group.rank(), count);
                Buffer buffer(group, memory, mine.size());
                buffer.fill(mine);
                RONDO_ASSERT_OK(all_reduce(group, {buffer.data(), count, type}, op, {.weight = weight_of(group.rank())})
                                    .wait(in_seconds(30)));
                ASSERT_EQ(buffer.content(), expected(type, op, n, count))
                    << name(type) << " " << name(op) << " x " << count << " on " << n << " ranks";
              }
            }
          }
        },
        kShared);
  }
}

TEST_P(SharedMemory, LargeBuffersGoInManySegmentsAndPieces) {
  const Memory memory = GetParam();
  const int64_t count = 1'500'007;  // 6 MB: several staging pieces, many segments
  const auto result = expected(DType::kFloat32, ReduceOp::kSum, 3, count);
  run_ranks(
      3,
      [&](Group& group) {
        Buffer buffer(group, memory, static_cast<size_t>(count) * 4);
        for (int round = 0; round < 2; ++round) {
          buffer.fill(operand(DType::kFloat32, group.rank(), count));
          RONDO_ASSERT_OK(
              all_reduce(group, {buffer.data(), count, DType::kFloat32}, ReduceOp::kSum).wait(in_seconds(30)));
          ASSERT_EQ(buffer.content(), result) << "round " << round;
        }
      },
      kShared);
}

TEST_P(SharedMemory, EveryKindOfStoreGivesTheSameBits) {
  const Memory memory = GetParam();
  const int64_t count = 300'007;  // several pieces; ends lie in the middle of a line
  const auto result = expected(DType::kFloat32, ReduceOp::kSum, 3, count);
  const auto blocks = expected(DType::kFloat32, ReduceOp::kSum, 3, 300'006);
  for (const std::string stores : {"plain-stores", "non-temporal-stores"}) {
    run_ranks(
        3,
        [&](Group& group) {
          Buffer buffer(group, memory, static_cast<size_t>(count) * 4);
          for (int round = 0; round < 2; ++round) {
            buffer.fill(operand(DType::kFloat32, group.rank(), count));
            RONDO_ASSERT_OK(
                all_reduce(group, {buffer.data(), count, DType::kFloat32}, ReduceOp::kSum).wait(in_seconds(30)));
            ASSERT_EQ(buffer.content(), result) << stores;
          }
          buffer.fill(operand(DType::kFloat32, group.rank(), count));
          std::vector<float> output(100'002);
          RONDO_ASSERT_OK(reduce_scatter(group, {buffer.data(), 300'006, DType::kFloat32}, view(output), ReduceOp::kSum)
                              .wait(in_seconds(30)));
          const size_t bytes = output.size() * 4;
          ASSERT_EQ(std::memcmp(output.data(), blocks.data() + bytes * static_cast<size_t>(group.rank()), bytes), 0);
          auto mine = operand(DType::kFloat32, group.rank(), 100'002);
          RONDO_ASSERT_OK(
              all_gather(group, {mine.data(), 100'002, DType::kFloat32}, {buffer.data(), 300'006, DType::kFloat32})
                  .wait(in_seconds(30)));
          for (int rank = 0; rank < 3; ++rank) {
            const auto theirs = operand(DType::kFloat32, rank, 100'002);
            ASSERT_EQ(std::memcmp(buffer.data() + bytes * static_cast<size_t>(rank), theirs.data(), bytes), 0) << rank;
          }
          RONDO_ASSERT_OK(broadcast(group, {mine.data(), 100'002, DType::kFloat32}, Root{1}).wait(in_seconds(30)));
          ASSERT_EQ(mine, operand(DType::kFloat32, 1, 100'002)) << stores;
        },
        {.transport = TransportKind::kShm, .group = {.algorithm = stores}});
  }
}

TEST_P(SharedMemory, ReduceScatterLeavesEveryRankItsBlockAndTheInputAsItWas) {
  const Memory memory = GetParam();
  for (const int n : {1, 2, 3, 5}) {
    run_ranks(
        n,
        [&](Group& group) {
          for (const int64_t each : {int64_t{1}, int64_t{97}, int64_t{3001}, int64_t{150'003}}) {
            const int64_t count = each * n;
            const auto mine = operand(DType::kFloat32, group.rank(), count);
            Buffer input(group, memory, mine.size());
            input.fill(mine);
            std::vector<float> output(static_cast<size_t>(each));
            RONDO_ASSERT_OK(reduce_scatter(group, {input.data(), count, DType::kFloat32}, view(output), ReduceOp::kSum)
                                .wait(in_seconds(30)));
            const auto block = expected(DType::kFloat32, ReduceOp::kSum, n, each, each * group.rank());
            ASSERT_EQ(std::memcmp(output.data(), block.data(), block.size()), 0) << each << " elements a rank of " << n;
            ASSERT_EQ(input.content(), mine);
          }
        },
        kShared);
  }
}

TEST_P(SharedMemory, AllGatherKeepsRankOrderAtEverySize) {
  const Memory memory = GetParam();
  for (const int n : {1, 2, 5}) {
    run_ranks(
        n,
        [&](Group& group) {
          for (const int64_t each : {int64_t{3}, int64_t{301}, int64_t{400'003}}) {
            const auto mine = operand(DType::kInt64, group.rank(), each);
            std::vector<std::byte> input = mine;
            Buffer output(group, memory, mine.size() * static_cast<size_t>(n));
            RONDO_ASSERT_OK(
                all_gather(group, {input.data(), each, DType::kInt64}, {output.data(), each * n, DType::kInt64})
                    .wait(in_seconds(30)));
            std::vector<std::byte> all;
            for (int rank = 0; rank < n; ++rank) {
              const auto theirs = operand(DType::kInt64, rank, each);
              all.insert(all.end(), theirs.begin(), theirs.end());
            }
            ASSERT_EQ(output.content(), all) << each << " elements a rank of " << n;
          }
        },
        kShared);
  }
}

TEST_P(SharedMemory, BroadcastGivesEveryRankTheRootsBytesAtEverySize) {
  const Memory memory = GetParam();
  run_ranks(
      4,
      [&](Group& group) {
        for (int root = 0; root < 4; ++root) {
          for (const int64_t count : {int64_t{2}, int64_t{300}, int64_t{1'500'001}}) {
            Buffer buffer(group, memory, static_cast<size_t>(count));
            buffer.fill(operand(DType::kUInt8, group.rank(), count));
            RONDO_ASSERT_OK(broadcast(group, {buffer.data(), count, DType::kUInt8}, Root{root}).wait(in_seconds(30)));
            ASSERT_EQ(buffer.content(), operand(DType::kUInt8, root, count)) << "root " << root << ", " << count;
          }
        }
      },
      kShared);
}

TEST(SharedMemoryPush, HasTheBitsOfItsScheduleOverRegions) {
  const int n = 6;
  const int64_t count = 50'021;
  for (const TransportKind transport : {TransportKind::kInproc, TransportKind::kShm}) {
    run_ranks(n,
              [&](Group& group) {
                Buffer buffer(group, Memory::kRegistered, static_cast<size_t>(count) * 4);
                buffer.fill(operand(DType::kFloat32, group.rank(), count));
                RONDO_ASSERT_OK(barrier(group).wait(in_seconds(30)));
                RONDO_ASSERT_OK(all_reduce(group, {buffer.data(), count, DType::kFloat32}, ReduceOp::kWeightedMean,
                                           {.weight = weight_of(group.rank())})
                                    .wait(in_seconds(30)));
                ASSERT_EQ(buffer.content(), expected(DType::kFloat32, ReduceOp::kWeightedMean, n, count));
                RONDO_ASSERT_OK(barrier(group).wait(in_seconds(30)));
              },
              {.transport = transport, .group = {.algorithm = "push", .segment_bytes = 4096}});
  }
}

TEST(SharedMemoryMappings, RanksThatMapForThemselvesExchangeOverMailboxes) {
  run_ranks(3,
            [](Group& group) {
              for (const int64_t count : {int64_t{7}, int64_t{200'003}}) {
                for (const Memory memory : {Memory::kRegistered, Memory::kPlain}) {
                  Buffer buffer(group, memory, static_cast<size_t>(count) * 4);
                  buffer.fill(operand(DType::kFloat32, group.rank(), count));
                  RONDO_ASSERT_OK(
                      all_reduce(group, {buffer.data(), count, DType::kFloat32}, ReduceOp::kSum).wait(in_seconds(30)));
                  ASSERT_EQ(buffer.content(), expected(DType::kFloat32, ReduceOp::kSum, 3, count));
                }
              }
            },
            {.transport = TransportKind::kShm, .mappings = RankOptions::Mappings::kOwn});
}

int rondo_mappings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("memfd:rondo") != std::string::npos ? 1 : 0;
  return count;
}

TEST(SharedMemoryMappings, ARegionThatIsFreedIsFreedAtThePeersToo) {
  std::array<int, 2> after_round{};
  run_ranks(2,
            [&](Group& group) {
              for (int round = 0; round < 40; ++round) {
                Buffer buffer(group, Memory::kRegistered, 64 * 1024);
                buffer.fill(operand(DType::kFloat32, group.rank(), 16 * 1024));
                RONDO_ASSERT_OK(all_reduce(group, {buffer.data(), 16 * 1024, DType::kFloat32}, ReduceOp::kSum).wait());
                RONDO_ASSERT_OK(barrier(group).wait());
                if (group.rank() == 0 && (round == 4 || round == 39))
                  after_round[round == 4 ? 0 : 1] = rondo_mappings();
                RONDO_ASSERT_OK(barrier(group).wait());
              }
            },
            {.transport = TransportKind::kShm, .mappings = RankOptions::Mappings::kOwn});
  EXPECT_LE(after_round[1], after_round[0] + 2);
}

TEST(SharedMemoryMappings, AStoreThatComesLateCannotReachMemoryThatWasHandedOutAgain) {
  for (const auto mappings : {RankOptions::Mappings::kShared, RankOptions::Mappings::kOwn}) {
    std::span<std::byte> late;  // rank 0's buffer, as rank 1 sees it
    run_ranks(
        2,
        [&](Group& group) {
          Buffer buffer(group, Memory::kRegistered, 1 << 20);
          RONDO_ASSERT_OK(all_reduce(group, {buffer.data(), 1 << 18, DType::kFloat32}, ReduceOp::kSum).wait());
          if (group.rank() == 1) {
            auto transport_sees = group.state()->find_registered({buffer.data(), 1});
            ASSERT_TRUE(transport_sees.has_value());
            late = group.state()->peer_region(0, transport_sees->id);
            ASSERT_EQ(late.size(), size_t{1} << 20);
          }
          RONDO_ASSERT_OK(barrier(group).wait());
          if (group.rank() == 0) {
            buffer = Buffer(group, Memory::kRegistered, 1 << 20);  // frees the old one, takes a new one
            std::fill_n(buffer.data(), 1 << 20, std::byte{0x5a});
          }
          RONDO_ASSERT_OK(barrier(group).wait());
          if (group.rank() == 1) std::memset(late.data(), 0xff, late.size());
          RONDO_ASSERT_OK(barrier(group).wait());
          if (group.rank() == 0) {
            const auto content = buffer.content();
            EXPECT_TRUE(std::all_of(content.begin(), content.end(), [](std::byte b) { return b == std::byte{0x5a}; }));
          }
          RONDO_ASSERT_OK(barrier(group).wait());
        },
        {.transport = TransportKind::kShm, .mappings = mappings});
  }
}

TEST(SharedMemoryEntry, AMismatchOfAnyFieldIsNamedOnEveryRankBeforeDataIsMixed) {
  const std::array<std::string, 5> wanted{"int64", "max", "5", "other tag", "all_gather"};
  for (size_t which = 0; which < wanted.size(); ++which) {
    run_ranks(
        3,
        [&](Group& group) {
          std::vector<float> values{1, 2, 3, 4};
          std::vector<float> more{1, 2, 3, 4, 5};
          std::vector<int64_t> wide{1, 2, 3, 4};
          std::vector<float> gathered(12);
          Work work;
          if (group.rank() != 1) {
            work = all_reduce(group, view(values), ReduceOp::kSum, {.tag = "tag"});
          } else if (which == 0) {
            work = all_reduce(group, view(wide), ReduceOp::kSum, {.tag = "tag"});
          } else if (which == 1) {
            work = all_reduce(group, view(values), ReduceOp::kMax, {.tag = "tag"});
          } else if (which == 2) {
            work = all_reduce(group, view(more), ReduceOp::kSum, {.tag = "tag"});
          } else if (which == 3) {
            work = all_reduce(group, view(values), ReduceOp::kSum, {.tag = "other tag"});
          } else {
            work = all_gather(group, view(values), view(gathered), {.tag = "tag"});
          }
          const Status status = work.wait(in_seconds(20));
          EXPECT_EQ(status.code(), Code::kMismatch) << status.text();
          EXPECT_NE(status.text().find("rank 1 calls"), std::string::npos) << status.text();
          EXPECT_NE(status.text().find(wanted[which]), std::string::npos) << status.text();
          EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4}));
        },
        kShared);
  }
}

TEST(SharedMemoryEntry, ARankThatLeftInOrderIsNamedAtOnceAndNotByATimeout) {
  run_endpoints(2,
                [](Endpoint& endpoint) {
                  auto group = Group::create(endpoint, {.operation_timeout = std::chrono::seconds(60)}, in_seconds(20));
                  RONDO_ASSERT_OK(group);
                  std::vector<float> values{1, 2, 3};
                  RONDO_ASSERT_OK(all_reduce(*group, view(values), ReduceOp::kSum).wait(in_seconds(20)));
                  if (endpoint.at().rank == 1) return static_cast<void>(group->close(in_seconds(5)));
                  const Status status =
                      all_reduce(*group, view(values), ReduceOp::kSum, {.tag = "late"}).wait(in_seconds(20));
                  EXPECT_EQ(status.code(), Code::kClosed) << status.text();
                  EXPECT_EQ(status.where().peer, 1);
                  EXPECT_NE(status.text().find("rank 1 left in order"), std::string::npos) << status.text();
                  EXPECT_NE(status.text().find("tag \"late\""), std::string::npos) << status.text();
                },
                {.transport = TransportKind::kShm, .mappings = RankOptions::Mappings::kOwn});
}

}  // namespace
}  // namespace rondo::comm
