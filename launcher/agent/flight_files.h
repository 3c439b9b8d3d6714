/// flight/rank-0000.bin: what a rank's flight recorder held, written into the run's folder from the memory that the
/// agent keeps (rondo/comm/flight.h). That memory outlives the rank. Main thread only.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/deadline.h"
#include "rondo/comm/memory.h"

namespace rondo::launcher {

/// Memory for one rank's recorder; its descriptor goes to the worker.
comm::Result<comm::Region> make_flight_memory(int rank);

/// "<run>/flight/rank-0000.bin".
std::string flight_path(const std::string& run_directory, int rank);

/// Writes what `memory` holds now, whole or not at all. False: the rank recorded nothing, so there is nothing to write.
comm::Result<bool> write_flight(const std::string& run_directory, int rank, const comm::Region& memory,
                                comm::TimePoint now);

/// Whose failure ended the collectives of the rank that recorded in `memory`; nothing when they did not end so.
struct RecordedCulprit {
  int rank = -1;
  bool timeout = false;  // it was waited for in vain
};
std::optional<RecordedCulprit> recorded_culprit(const comm::Region& memory);

/// Where that rank's threads were, with names: a crash by `signal`, or when asked (USR2).
std::vector<std::string> recorded_stacks(const comm::Region& memory, int signal);
/// How many of its threads have answered USR2 so far.
uint64_t stack_answers(const comm::Region& memory);

/// Since the last beat of that rank's keeper; nothing when it never beat.
std::optional<std::chrono::milliseconds> silence_of(const comm::Region& memory, comm::TimePoint now);

}  // namespace rondo::launcher
