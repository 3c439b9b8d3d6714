/// Buffers that no single message could carry; with `./dev soak huge` also one of more than 2^31 elements.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "rondo/comm/collectives.h"
#include "tests/support/run_ranks.h"
#include "tests/support/soak.h"

namespace rondo::comm {
namespace {

// Round 0 runs in CI: more than a message holds. Round 1 needs 5 GB of memory.
constexpr std::array kCounts{(int64_t{64} << 20) + 5, (int64_t{1} << 31) + 5};
constexpr int64_t kPeriod = 97 * 4096;

uint8_t contribution(int rank, int64_t index) { return static_cast<uint8_t>((rank + 1) * 70 + index % 97); }
uint8_t sum_of_two(int64_t index) { return static_cast<uint8_t>(210 + 2 * (index % 97)); }  // wraps

/// The first period of a pattern; the rest is equal to it.
template <typename Value>
std::vector<uint8_t> period_of(const Value& value) {
  std::vector<uint8_t> period(static_cast<size_t>(kPeriod));
  for (int64_t i = 0; i < kPeriod; ++i) period[static_cast<size_t>(i)] = value(i);
  return period;
}

class Huge : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(TwoRanks, Huge, testing::Values(TransportKind::kShm, TransportKind::kTcp),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(Huge, BuffersAreReducedInMessagesThatFitWhateverSegmentIsAskedFor) {
  const auto [first, rounds] = test::soak_rounds(1);
  for (uint64_t round = first; round < first + rounds; ++round) {
    const int64_t count = kCounts[std::min<size_t>(round, kCounts.size() - 1)];
    test::run_ranks(2,
                    [&](Group& group) {
                      const auto memory = std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(count));
                      const auto mine = period_of([&](int64_t i) { return contribution(group.rank(), i); });
                      for (int64_t at = 0; at < count; at += kPeriod) {
                        std::memcpy(memory.get() + at, mine.data(), static_cast<size_t>(std::min(kPeriod, count - at)));
                      }
                      RONDO_ASSERT_OK(all_reduce(group, {memory.get(), count, DType::kUInt8}, ReduceOp::kSum).wait());
                      const auto sum = period_of(sum_of_two);
                      for (int64_t at = 0; at < count; at += kPeriod) {
                        const auto bytes = static_cast<size_t>(std::min(kPeriod, count - at));
                        ASSERT_EQ(std::memcmp(memory.get() + at, sum.data(), bytes), 0) << "at or after element " << at;
                      }
                    },
                    {.transport = GetParam(),
                     .group = {.operation_timeout = std::chrono::minutes(4), .segment_bytes = int64_t{1} << 40},
                     .deadline = std::chrono::minutes(5),
                     .mappings = test::RankOptions::Mappings::kOwn});
  }
}

}  // namespace
}  // namespace rondo::comm
