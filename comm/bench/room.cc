#include "comm/bench/room.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <limits>
#include <set>

namespace rondo::bench {
namespace {

using comm::Code;
using comm::Region;
using comm::Result;
using comm::Status;

constexpr uint64_t kLooksBetweenClocks = 4096;

}  // namespace

size_t Room::byte_count(const RoomShape& shape) {
  const auto ranks = static_cast<size_t>(shape.at.world_size);
  return sizeof(CommonLines) +
         ranks * (sizeof(RankLines) + static_cast<size_t>(shape.sample_capacity) * sizeof(double));
}

Result<Room> Room::make(const RoomShape& shape) {
  auto region = Region::allocate(byte_count(shape), "samples of a benchmark");
  RONDO_TRY(region);
  return Room(shape, *std::move(region));
}

Ticket Room::ticket() const {
  return {
      .pid = ::getpid(), .descriptor = region_.descriptor(), .byte_count = static_cast<int64_t>(byte_count(shape_))};
}

Result<Room> Room::enter(const RoomShape& shape, const Ticket& ticket) {
  const comm::Where where{.rank = shape.at.rank, .peer = 0, .operation = "bench"};
  if (ticket.byte_count != static_cast<int64_t>(byte_count(shape))) {
    return Status(Code::kMismatch, "rank 0 measures something else than this rank: start all with the same flags",
                  where);
  }
  const std::string path = "/proc/" + std::to_string(ticket.pid) + "/fd/" + std::to_string(ticket.descriptor);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) {
    return Status(Code::kIo,
                  "cannot reach rank 0's memory at " + path + ": " + std::strerror(errno) +
                      "; the measured ranks run on one host, as one user",
                  where);
  }
  auto region = Region::adopt(descriptor, byte_count(shape));
  RONDO_TRY(region);
  return Room(shape, *std::move(region));
}

Room::CommonLines& Room::common() const { return *reinterpret_cast<CommonLines*>(region_.bytes().data()); }

std::atomic<uint64_t>& Room::bounced_line() { return common().bounced.value; }

Room::RankLines& Room::lines(int rank) const {
  auto* first = reinterpret_cast<RankLines*>(region_.bytes().data() + sizeof(CommonLines));
  return first[rank];
}

double* Room::samples(int rank) const {
  auto* first = reinterpret_cast<double*>(&lines(shape_.at.world_size));
  return first + static_cast<ptrdiff_t>(rank) * shape_.sample_capacity;
}

Status Room::absent(int rank) const {
  return {Code::kTimeout, "rank " + std::to_string(rank) + " has not come to the gate between two calls",
          comm::Where{.rank = shape_.at.rank, .peer = rank, .operation = "bench"}};
}

/// The sleeping half of a gate: by a count of arrivals, and the last one wakes the others.
Status Room::wait_for_all(comm::Deadline deadline) {
  auto& arrivals = common().arrivals;
  auto* word = reinterpret_cast<uint32_t*>(&arrivals);
  const auto all = static_cast<uint32_t>(turn_ * static_cast<uint64_t>(shape_.at.world_size));
  lines(shape_.at.rank).asleep.value.store(turn_, std::memory_order_release);
  uint32_t seen = arrivals.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (seen == all) {
    ::syscall(SYS_futex, word, FUTEX_WAKE, std::numeric_limits<int>::max(), nullptr, nullptr, 0);
    return {};
  }
  while (static_cast<int32_t>(seen - all) < 0) {
    if (deadline.passed(comm::Clock::now())) {
      for (int rank = 0; rank < shape_.at.world_size; ++rank) {
        if (lines(rank).asleep.value.load(std::memory_order_acquire) < turn_) return absent(rank);
      }
    }
    timespec slice{.tv_sec = 0, .tv_nsec = 100'000'000};
    ::syscall(SYS_futex, word, FUTEX_WAIT, seen, &slice, nullptr, 0);
    seen = arrivals.load(std::memory_order_acquire);
  }
  return {};
}

Status Room::gate(comm::Deadline deadline) {
  ++turn_;
  if (shape_.waiting == Waiting::kBlocks) RONDO_TRY(wait_for_all(deadline));
  lines(shape_.at.rank).arrived.value.store(turn_, std::memory_order_release);
  for (int rank = 0; rank < shape_.at.world_size; ++rank) {
    const auto& arrived = lines(rank).arrived.value;
    for (uint64_t looks = 1; arrived.load(std::memory_order_acquire) < turn_; ++looks) {
      if (cores_ == Cores::kShared) ::sched_yield();
      if (looks % kLooksBetweenClocks == 0 && deadline.passed(comm::Clock::now())) return absent(rank);
    }
  }
  return {};
}

Result<std::vector<int>> Room::settle(int cpu, comm::Deadline deadline) {
  lines(shape_.at.rank).cpu.value.store(static_cast<uint64_t>(cpu), std::memory_order_release);
  RONDO_TRY(gate(deadline));
  std::vector<int> cpus;
  for (int rank = 0; rank < shape_.at.world_size; ++rank) {
    cpus.push_back(static_cast<int>(lines(rank).cpu.value.load(std::memory_order_acquire)));
  }
  const std::set<int> distinct(cpus.begin(), cpus.end());
  cores_ = distinct.size() == cpus.size() ? Cores::kOwn : Cores::kShared;
  return cpus;
}

void Room::put_sample(int index, double microseconds) { samples(shape_.at.rank)[index] = microseconds; }

void Room::add_wrong(int64_t count) {
  lines(shape_.at.rank).wrong.value.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
}

std::vector<double> Room::slowest(int count) const {
  std::vector<double> slowest(static_cast<size_t>(count), 0.0);
  for (int rank = 0; rank < shape_.at.world_size; ++rank) {
    const double* of_rank = samples(rank);
    for (size_t i = 0; i < slowest.size(); ++i) slowest[i] = std::max(slowest[i], of_rank[i]);
  }
  return slowest;
}

int64_t Room::take_wrong() {
  int64_t sum = 0;
  for (int rank = 0; rank < shape_.at.world_size; ++rank) {
    sum += static_cast<int64_t>(lines(rank).wrong.value.exchange(0, std::memory_order_relaxed));
  }
  return sum;
}

void Room::say_entered(uint64_t number) {
  lines(shape_.at.rank).entered.value.store(number, std::memory_order_release);
}

int64_t Room::count_absent(uint64_t number) const {
  int64_t absent = 0;
  for (int rank = 0; rank < shape_.at.world_size; ++rank) {
    absent += lines(rank).entered.value.load(std::memory_order_acquire) < number ? 1 : 0;
  }
  return absent;
}

}  // namespace rondo::bench
