/// A simulated world: a virtual clock, seeded randomness and in-memory streams, so that whole protocols with many fake
/// ranks run in one thread, faster than real time and the same way for the same seed.
///
/// Addresses are "sim:name". Streams read and write in seeded, short pieces and sometimes would block, as sockets do;
/// bytes may take simulated time to arrive. An injector makes worse things happen to the streams between two ranks. The
/// clock moves only by advance() and Env::idle().
///
/// Threading: one thread for a world and everything made from it. Envs and streams keep their world alive.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "comm/sim/injector.h"
#include "comm/sim/trace.h"
#include "rondo/comm/env.h"

namespace rondo::comm {

struct SimOptions {
  uint64_t seed = 1;
  size_t most_bytes_per_call = 1 << 16;  // a read or write moves 1 to this many bytes, drawn
  int would_block_percent = 10;          // of reads and writes that could have moved something
  size_t stream_bytes = 1 << 16;         // in flight in one direction; more would block
  Duration latency_min{0};
  Duration latency_max{0};
  std::shared_ptr<Injector> injector = nullptr;  // shared with whoever else injects; null: no faults
  std::shared_ptr<Trace> trace = nullptr;        // shared with the injector; null: nobody compares runs
};

class SimWorld {
 public:
  static std::shared_ptr<SimWorld> make(SimOptions options = {});
  virtual ~SimWorld() = default;

  /// One fake rank's view. What it opens belongs to `name`, for kill(). Faults strike between ranks from 0 only.
  virtual std::shared_ptr<Env> env(const std::string& name, int rank = -1) = 0;
  virtual TimePoint now() const = 0;
  virtual void advance(Duration by) = 0;
  /// As if the process behind `name` died: its listeners vanish, the other ends of its streams are reset.
  virtual void kill(const std::string& name) = 0;
};

}  // namespace rondo::comm
