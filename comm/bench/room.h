/// Memory that the measured ranks of one host share, whatever library they measure: a starting gate, their samples, and
/// a line to bounce. So every contender starts a timed call from the same barrier and is judged by the same clock.
///
/// Rank 0 makes it, the others enter by a ticket that the contender carries to them. Threading: one thread a rank.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/bench/plan.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/endpoint.h"
#include "rondo/comm/memory.h"
#include "rondo/comm/status.h"

namespace rondo::bench {

/// How to find rank 0's memory: plain bytes, so that any library can broadcast them.
struct Ticket {
  int64_t pid = 0;
  int64_t descriptor = -1;
  int64_t byte_count = 0;
};

/// How a rank waits at the gate. kSpins: all leave within the time of a flag; where ranks share cores they yield.
/// kBlocks: sleeps in the kernel until all have arrived, and only then meets them as the others do.
enum class Waiting : uint8_t { kSpins, kBlocks };

struct RoomShape {
  comm::Position at;
  int sample_capacity = 0;
  Waiting waiting = Waiting::kSpins;
};

class Room {
 public:
  /// Rank 0.
  static comm::Result<Room> make(const RoomShape& shape);
  Ticket ticket() const;
  /// The others. kIo when rank 0's memory cannot be reached: it runs on another host, or as another user.
  static comm::Result<Room> enter(const RoomShape& shape, const Ticket& ticket);

  comm::Position at() const { return shape_.at; }
  /// kShared until settle() found that every rank has a cpu of its own.
  Cores cores() const { return cores_; }

  /// Every rank says on which cpu it runs; returns all of them by rank. First of all, once.
  comm::Result<std::vector<int>> settle(int cpu, comm::Deadline deadline);

  /// Returns when every rank has come here as often as this one. kTimeout names those that have not.
  comm::Status gate(comm::Deadline deadline);

  /// This rank's sample of call `index`.
  void put_sample(int index, double microseconds);
  /// Adds to this rank's count of wrong elements.
  void add_wrong(int64_t count);
  /// For every call the slowest rank's sample. Rank 0, behind a gate that all ranks passed after their last sample.
  std::vector<double> slowest(int count) const;
  /// All ranks' wrong elements since the last time. As slowest().
  int64_t take_wrong();

  /// Proof of a barrier: each rank says that it enters call `number`; afterwards all must have.
  void say_entered(uint64_t number);
  /// Ranks that have not yet said so.
  int64_t count_absent(uint64_t number) const;

  /// One cache line for two ranks.
  std::atomic<uint64_t>& bounced_line();

 private:
  struct alignas(128) Line {
    std::atomic<uint64_t> value;
  };
  /// What all ranks write.
  struct CommonLines {
    Line bounced;
    alignas(128) std::atomic<uint32_t> arrivals;  // only rises, and wraps; a futex
  };
  struct RankLines {
    Line asleep;   // gates at which this rank came to sleep
    Line arrived;  // gates at which it is ready to leave
    Line entered;
    Line wrong;
    Line cpu;
  };

  Room(RoomShape shape, comm::Region region) : shape_(shape), region_(std::move(region)) {}
  static size_t byte_count(const RoomShape& shape);
  comm::Status wait_for_all(comm::Deadline deadline);
  comm::Status absent(int rank) const;
  CommonLines& common() const;
  RankLines& lines(int rank) const;
  double* samples(int rank) const;

  RoomShape shape_;
  comm::Region region_;  // CommonLines, RankLines of each rank, samples of each rank
  Cores cores_ = Cores::kShared;
  uint64_t turn_ = 0;
};

}  // namespace rondo::bench
