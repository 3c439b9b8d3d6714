/// flight/rank-0000.bin: what a rank's flight recorder held (rondo/comm/flight.h), in the run's folder; and what the
/// agent reads in the recorder's memory, which outlives the rank. Main thread only.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rondo/comm/deadline.h"
#include "rondo/comm/memory.h"

namespace rondo::launcher {

/// Memory for one rank's recorder; its descriptor goes to the worker.
comm::Result<comm::Region> make_flight_memory(int rank);

/// "<run>/flight/rank-0000.bin".
std::string flight_path(const std::string& run_directory, int rank);

/// Writes a rank's record there, whole or not at all; the agents of several hosts may do so in one shared folder.
comm::Status keep_flight(const std::string& run_directory, int rank, std::span<const std::byte> record);

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
