/// Rows of `rondo bench train`, and what they say about each other. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launcher/bench/comparison.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

/// One row of rondo-train-bench or of the rival's driver.
struct TrainingRow {
  std::string model, contender;
  int round = 0, ranks = 0;
  double samples_per_second = 0, step_us = 0, loss = 0;
  nlohmann::ordered_json json;
};
/// kCorrupt with the line that is not understood, and when there is no row.
comm::Result<std::vector<TrainingRow>> parse_training_rows(const std::string& text);

/// How many times as fast `faster` is as `slower`, round by round.
struct SpeedRatio {
  double median = 0, least = 0, greatest = 0;
  std::optional<Interval> interval;  // 95 %, of the median
  int rounds = 0;
};
/// Of `model`; nothing when they share no round.
std::optional<SpeedRatio> speed_ratio(std::span<const TrainingRow> rows, const std::string& model,
                                      const std::string& faster, const std::string& slower);

/// Of `candidates` the one with the greatest median speed on `model`; empty when none has rows.
std::string best_of(std::span<const TrainingRow> rows, const std::string& model,
                    const std::vector<std::string>& candidates);

/// Why rows of `model` may not be compared: a sentence for each contender whose loss differs by more than 1e-3 (of the
/// loss, if that is above 1) from Rondo's, or from the plain loop's, on as many ranks after as many steps. The same net
/// on the same data from the same values ends there, whoever sums the gradients.
std::vector<std::string> loss_differences(std::span<const TrainingRow> rows, const std::string& model);

/// The report on one model: a line a contender, then the ratios. Refused contenders have no ratio.
std::string training_text(std::span<const TrainingRow> rows, const std::string& model);
/// JSON objects, a line each: one for each ratio.
std::string training_json(std::span<const TrainingRow> rows, const std::string& model);

}  // namespace rondo::launcher
