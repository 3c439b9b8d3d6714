/// What a group carries out: one collective, seen from below. The collectives implement it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/watch/flight_recorder.h"
#include "rondo/comm/env.h"
#include "rondo/comm/memory.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

class GroupState;
class Transport;

/// What an operation may use while it is asked to go on; valid for that call only, under the group's lock.
/// kSpin: look a few hundred times before saying kBlocked. kGlance: look once. kBackground: likewise, but nobody waits,
/// so that time does not count against peers.
enum class Patience : uint8_t { kGlance, kSpin, kBackground };

struct Turn {
  GroupState& group;
  Transport& transport;
  std::vector<std::byte>& scratch;  // grows as needed, kept between operations
  Region& staging;                  // as scratch, but peers may read it; empty until it is first needed
  TimePoint now;
  Patience patience = Patience::kGlance;
};

class Operation {
 public:
  virtual ~Operation() = default;
  /// Takes its number in the group. Called once, under the group's lock, in issue order.
  virtual void enqueued(uint64_t sequence) = 0;
  /// Goes on as far as it can without blocking, by at most one segment. Only the oldest operation of a group is asked.
  virtual Progress advance(const Turn& turn) = 0;
  /// Why advance() said kFailed.
  virtual Status status() const = 0;
  /// Publishes the outcome. After that the operation touches no memory of its caller.
  virtual void finish(const Status& outcome) = 0;
  /// For errors: operation, tag, sequence, phase, and the peer (job rank) that it waits for.
  virtual Where where() const = 0;
  /// What the flight recorder keeps of this call, and of where it is.
  virtual FlightCall flight_call() const = 0;
  virtual FlightPosition flight_position() const = 0;

  FlightNote note;  // its record; the group writes it, under its lock
};

}  // namespace rondo::comm
