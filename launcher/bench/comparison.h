/// Rows of several contenders and rounds, and what they say about each other. Pure.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launcher/bench/contenders.h"

namespace rondo::launcher {

/// One row of a contender's output, as it wrote it.
struct MeasuredRow {
  std::string contender;
  int64_t byte_count = 0;
  int round = 0;
  double p50_us = 0, p99_us = 0, algbw_gbs = 0;
  int64_t wrong = 0;
  nlohmann::ordered_json json;
};

/// What a contender wrote: its rows, and its header. kCorrupt with the line that is not understood, and when a field is
/// missing.
struct ContenderOutput {
  nlohmann::ordered_json header;
  std::vector<MeasuredRow> rows;
};
comm::Result<ContenderOutput> parse_output(const std::string& text);

/// A 95 % interval for the median of `values` from their order alone (binomial); none for fewer than six.
struct Interval {
  double low = 0, high = 0;
};
std::optional<Interval> median_interval(std::vector<double> values);

/// The middle value, or the mean of the middle two. 0 for none.
double median(std::vector<double> values);

/// A contender at one size, over all rounds.
struct ContenderStanding {
  std::string contender;
  Camp camp = Camp::kOurs;
  double p50_us = 0, p99_us = 0, algbw_gbs = 0;  // medians over rounds
  int64_t wrong = 0;
  std::vector<double> rounds_us;  // p50 of each round, in order
};

/// How many times as long as Rondo a camp's best takes.
struct Ratio {
  Camp camp = Camp::kMpi;
  std::string best;  // its contender with the least median
  double ratio = 0;  // of medians over rounds
  double least_round = 0, greatest_round = 0;
  std::optional<Interval> interval;  // of the rounds' ratios
};

struct SizeComparison {
  int64_t byte_count = 0;
  std::vector<ContenderStanding> standings;  // in the order of the contenders
  std::vector<Ratio> ratios;                 // a camp each
  std::optional<double> floor_share;         // of Rondo, median over rounds
};

/// Every size, ascending as measured. Rows of contenders that are not listed are ignored.
std::vector<SizeComparison> compare(std::span<const MeasuredRow> rows, std::span<const Contender> contenders);

/// In each row of Rondo: how many times as long the best rival took in the same round. Null elsewhere.
void fill_ratios(std::vector<MeasuredRow>& rows, const std::string& ours);

/// A table, then a line for each ratio.
std::string comparison_text(const SizeComparison& comparison, const std::string& title);
/// JSON objects, a line each: one for each standing.
std::string comparison_json(const SizeComparison& comparison, std::span<const MeasuredRow> rows);

}  // namespace rondo::launcher
