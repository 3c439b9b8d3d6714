/// The flight recorder: the last 1,024 collectives of a rank, in memory that outlives its process. So after a kill, and
/// while a job hangs, one can read who is where and who waits for whom.
///
/// A recorder is opened by join() and is always on; it costs about 10 ns a collective. This header has what others
/// need: where the memory comes from, and how to read it. The layout has a version; a reader takes its own only.
///
/// Threading: reading is a pure function over the bytes and may run while the rank writes: a record that is just being
/// replaced is left out and counted. Lifetime: a FlightRecorder lives as long as the endpoint that holds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rondo/comm/collective_kind.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/dtype.h"
#include "rondo/comm/endpoint.h"
#include "rondo/comm/secret.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// Bytes of a recorder's memory, and of the file that keeps it.
inline constexpr size_t kFlightBytes = 173'056;
/// How many collectives it holds; the oldest is replaced.
inline constexpr size_t kFlightRecords = 1024;

// --- writing

/// Where the memory comes from; the first that is given.
struct FlightOptions {
  Position at;
  uint32_t generation = 0;
  JobId job;
  int descriptor = -1;        // kFlightBytes that the agent keeps (a sealed memfd); taken over
  std::string run_directory;  // maps flight/rank-0000.bin in it; neither: memory without a name
  /// kOn: from now on this process writes stacks into it, of the thread that crashes, and of all threads at SIGUSR2,
  /// unless it handles these signals itself. The recorder then lives as long as the process.
  enum class Stacks : uint8_t { kOff, kOn } stacks = Stacks::kOff;
};

class FlightRecorder;
/// kResource, kIo: no memory; a job runs without a recorder as well.
Result<std::shared_ptr<FlightRecorder>> open_flight_recorder(const FlightOptions& options);

// --- reading

enum class FlightState : uint8_t {
  kCalled = 1,    // waits for its turn in the group's queue
  kStarted = 2,   // under way
  kFinished = 3,  // done
  kFailed = 4,    // see `code`
};
std::string_view name(FlightState state);

/// One collective. Times are CLOCK_MONOTONIC in nanoseconds, 0 = not yet.
struct FlightRecord {
  uint64_t group = 0;
  uint64_t sequence = 0;
  CollectiveKind kind = CollectiveKind::kAllReduce;
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int32_t root = -1;
  int64_t element_count = 0;
  std::string algorithm;
  std::string tag;  // the first 32 bytes
  FlightState state = FlightState::kCalled;
  Code code = Code::kOk;
  uint64_t called_ns = 0, started_ns = 0, ended_ns = 0;
  int hop = 0, hop_count = 0;  // where it is, or where it failed: hop 2 of 6; 0 of 0: never blocked
  int peer = -1;               // the rank (of the job) that it last waited for

  bool under_way() const { return state == FlightState::kCalled || state == FlightState::kStarted; }
  /// "all_reduce of 421642 float32, weighted mean, tag \"bucket 0\"". Equal on ranks that make the same call.
  std::string describe() const;
};

/// A group that this rank is in, or was: the last 64.
struct FlightGroup {
  uint64_t id = 0;
  std::string name;
  Position at;
  bool open = true;
  Code code = Code::kOk;  // why it ended: kClosed in order
  int culprit = -1;       // the rank (of the job) that ended it, if known
  uint64_t formed_ns = 0, ended_ns = 0;
  uint64_t called = 0;    // collectives called: the next sequence
  uint64_t finished = 0;  // collectives that ended well
};

/// What a rank wrote down.
struct Flight {
  Position at;
  int pid = 0;
  uint32_t generation = 0;
  std::string job, host;
  uint64_t opened_ns = 0;
  uint64_t taken_ns = 0;               // when the agent copied it; 0: these bytes are the rank's own
  uint64_t beat_ns = 0;                // the keeper's last beat; 0: it never ran
  uint64_t alarmed_ns = 0;             // when the keeper saw the first abort of the job or of a group
  std::optional<std::string> forming;  // the group that it is creating
  uint64_t forming_since_ns = 0;
  /// The first failure that this rank saw, whoever caused it.
  struct Ending {
    Code code = Code::kOk;
    int culprit = -1, reporter = -1;
    uint64_t at_ns = 0;
    std::string text;
  };
  std::optional<Ending> ending;
  /// Where its threads were when it crashed, or when they were asked. A "thread 4711 name" line each, then a line a
  /// frame, the innermost first: "/path/of/program+0x1a2b" (an offset in the file), or "?+0x7f01..." (an address).
  struct Stacks {
    int signal = 0;        // of the crash; USR2: they were asked
    uint64_t answers = 0;  // threads that have answered so far
    std::string text;
  };
  std::optional<Stacks> stacks;
  std::vector<FlightGroup> groups;    // oldest first
  std::vector<FlightRecord> records;  // in the order of their calls
  int torn = 0;                       // records left out: caught half written

  const FlightGroup* group(uint64_t id) const;
};

/// kCorrupt when the bytes are no flight record of this layout, or were never written to.
Result<Flight> read_flight(std::span<const std::byte> memory);

/// A copy in which no record is half written, stamped with `now`. Empty when no recorder ever opened `memory`.
std::vector<std::byte> take_flight(std::span<const std::byte> memory, TimePoint now);

}  // namespace rondo::comm
