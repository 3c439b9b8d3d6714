#include "comm/bench/flag_latency.h"

#include "comm/bench/statistics.h"

namespace rondo::bench {
namespace {

using comm::Clock;
using comm::Code;
using comm::Deadline;
using comm::Result;
using comm::Status;

constexpr int kBatches = 9, kRoundTrips = 50;
constexpr uint64_t kLooksBetweenClocks = 65536;

/// Spins without a pause: the time until the other core's store is seen is what is measured.
Status wait_for(const std::atomic<uint64_t>& line, uint64_t value, Deadline deadline) {
  for (uint64_t looks = 1; line.load(std::memory_order_acquire) != value; ++looks) {
    if (looks % kLooksBetweenClocks == 0 && deadline.passed(Clock::now())) {
      return {Code::kTimeout, "the other rank stopped bouncing the flag"};
    }
  }
  return {};
}

/// Rank 0 stores odd numbers, rank 1 the even ones that follow; both leave the line at 0.
Result<std::optional<double>> bounce(std::atomic<uint64_t>& line, int rank, Deadline deadline) {
  std::vector<double> nanoseconds;
  uint64_t value = 0;
  for (int batch = 0; batch < kBatches; ++batch) {
    const auto begin = Clock::now();
    for (int trip = 0; trip < kRoundTrips; ++trip, value += 2) {
      if (rank == 0) {
        line.store(value + 1, std::memory_order_release);
        RONDO_TRY(wait_for(line, value + 2, deadline));
      } else {
        RONDO_TRY(wait_for(line, value + 1, deadline));
        line.store(value + 2, std::memory_order_release);
      }
    }
    const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    nanoseconds.push_back(took.count() / (2 * kRoundTrips));
  }
  return std::optional(median(std::move(nanoseconds)));
}

}  // namespace

Result<std::optional<double>> flag_latency(Room& room, Deadline deadline) {
  if (room.at().world_size < 2 || room.cores() == Cores::kShared) return std::optional<double>();
  auto& line = room.bounced_line();
  if (room.at().rank == 0) line.store(0, std::memory_order_release);
  RONDO_TRY(room.gate(deadline));
  Result<std::optional<double>> mine = std::optional<double>();
  if (room.at().rank < 2) mine = bounce(line, room.at().rank, deadline);
  RONDO_TRY(room.gate(deadline));
  return mine;
}

}  // namespace rondo::bench
