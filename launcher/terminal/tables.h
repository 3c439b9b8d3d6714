/// What `rondo ps` and `rondo top` print of what runs say of themselves. Pure functions.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "launcher/control/run_door.h"
#include "proto/control.pb.h"

namespace rondo::launcher {

/// A live run, and what it said, or why it said nothing.
struct SeenRun {
  enum class State : uint8_t { kAnswers, kSuspended, kSilent };
  RunDoor door;
  State state = State::kAnswers;
  control::RunDescription said;
};

/// The wall clock when they were asked.
using Moment = std::chrono::system_clock::time_point;

/// A line for each run below a headline; one sentence when there is none.
std::string ps_table(std::span<const SeenRun> runs, Moment now);
std::string ps_json(std::span<const SeenRun> runs);

/// A headline, and a line for each rank.
std::string top_table(const control::RunDescription& run, Moment now);
/// One object, on one line.
std::string top_json(const control::RunDescription& run);

/// "42s", "3m10s", "2h05m", "3d04h".
std::string age_text(std::chrono::seconds age);
/// "512 KiB", "1.4 GiB".
std::string bytes_text(uint64_t bytes);

/// Columns as wide as their widest cell; the last one is not padded.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

}  // namespace rondo::launcher
