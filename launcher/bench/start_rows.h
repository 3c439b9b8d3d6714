/// Rows of `rondo bench start`, and what they say about each other. Pure.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launcher/bench/comparison.h"

namespace rondo::launcher {

/// What is timed.
enum class StartCase : uint8_t {
  kEmpty,      // programs that do nothing: from the start of the launcher to its end
  kRestart,    // from the kill of a rank to the first instruction of the last rank that was started again
  kFirstStep,  // from the start of the launcher until every rank has made its first training step
};
inline constexpr std::array kStartCases{StartCase::kEmpty, StartCase::kRestart, StartCase::kFirstStep};
/// "empty", "restart", "first-step".
const char* name_of(StartCase what);
/// "empty,restart"; kInvalidArgument with the nearest name.
comm::Result<std::vector<StartCase>> parse_start_cases(const std::string& text);

struct StartRow {
  StartCase what = StartCase::kEmpty;
  std::string contender;  // "rondo" or a rival
  int round = 0, ranks = 0;
  double ms = 0;
  std::optional<double> loss;  // of the first step, mean over ranks
};
nlohmann::ordered_json row_json(const StartRow& row);

/// What Rondo is held to: its own time, or how many times as long the rival takes.
struct StartBar {
  double most_ms = 0;      // 0: no such bar
  double least_ratio = 0;  // 0: no such bar
};
StartBar bar_of(StartCase what);

/// How many times as long as Rondo the rival takes, round by round.
struct StartRatio {
  std::string rival;
  double median = 0, least = 0, greatest = 0;
  std::optional<Interval> interval;  // 95 %, of the median
  int rounds = 0;
};
/// A ratio for each rival that shares a round with Rondo.
std::vector<StartRatio> start_ratios(std::span<const StartRow> rows, StartCase what);

/// Why the first steps may not be compared: a sentence for each rival whose loss differs by more than 1e-3. The same
/// net on the same data from the same values has the same loss, whoever started it.
std::vector<std::string> first_step_differences(std::span<const StartRow> rows);

/// A line a contender, the ratios, and the bar.
std::string start_text(std::span<const StartRow> rows, StartCase what);
/// JSON objects, a line each: a summary for each contender, a ratio for each rival, the bar.
std::string start_json(std::span<const StartRow> rows, StartCase what);

}  // namespace rondo::launcher
