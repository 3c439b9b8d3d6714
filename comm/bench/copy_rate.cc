#include "comm/bench/copy_rate.h"

#include <algorithm>
#include <cstring>

#include "comm/bench/statistics.h"

namespace rondo::bench {
namespace {

using comm::Clock;

constexpr int kCopies = 7;
constexpr size_t kLeastBytesTimed = 256 * 1024;  // well above what the clock resolves

}  // namespace

comm::Result<double> copy_time(Room& room, std::span<std::byte> buffer, comm::Deadline deadline) {
  const size_t half = buffer.size() / 2;
  if (half == 0) return 0.0;
  const size_t repeats = std::max<size_t>(1, kLeastBytesTimed / buffer.size());
  std::vector<double> slowest;
  for (int copy = 0; copy < kCopies; ++copy) {
    RONDO_TRY(room.gate(deadline));
    const auto begin = Clock::now();
    for (size_t i = 0; i < repeats; ++i) {
      std::memcpy(buffer.data() + half, buffer.data(), half);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // a compiler may not merge equal copies
    }
    const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
    room.put_sample(0, took.count() / static_cast<double>(repeats));
    RONDO_TRY(room.gate(deadline));
    if (room.at().rank == 0) slowest.push_back(room.slowest(1)[0]);
    RONDO_TRY(room.gate(deadline));
  }
  return median(std::move(slowest));
}

}  // namespace rondo::bench
