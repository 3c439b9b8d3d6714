/// What is measured: Rondo or a rival, one object a rank. Everything else (inputs, barrier, clock, check, statistics)
/// is the sweep's and the same for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "comm/bench/operations.h"
#include "comm/bench/room.h"
#include "rondo/comm/status.h"

namespace rondo::bench {

/// How the rows of a contender are labelled.
struct Label {
  std::string contender;  // "rondo", "openmpi-ring"
  std::string algorithm;  // "ring"
  std::string transport;  // "tcp"
  enum class Memory : uint8_t { kRegistered, kOrdinary } memory = Memory::kOrdinary;
};

class Contender {
 public:
  virtual ~Contender() = default;
  virtual comm::Position at() const = 0;
  virtual Label label() const = 0;
  /// How this rank waits for the others between calls. kBlocks: the contender has threads of its own on the rank's cpu,
  /// and a spinning rank would keep them from finishing what its peers wait for.
  virtual Waiting waiting() const { return Waiting::kSpins; }

  /// Of a buffer; what is larger is left out of its sweep.
  virtual int64_t most_bytes() const { return std::numeric_limits<int64_t>::max(); }

  /// Rank 0's ticket on every rank.
  virtual comm::Result<Ticket> share(const Ticket& ticket) = 0;

  /// The buffer of all calls, page-aligned; belongs to the contender. Called once.
  virtual comm::Result<std::span<std::byte>> memory(size_t byte_count) = 0;

  /// What may be done before the calls of a point start: never timed.
  virtual comm::Status prepare(const Collective& collective, const Call& call) = 0;
  /// One call, from start to its end on this rank: timed.
  virtual comm::Status run(const Collective& collective, const Call& call) = 0;
};

}  // namespace rondo::bench
