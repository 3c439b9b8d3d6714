#include "launcher/bench/comparison.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace rondo::launcher {
namespace {

using comm::Code;
using comm::Result;
using comm::Status;

template <typename... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
  char text[256];
  const int length = std::snprintf(text, sizeof text, format, arguments...);
  return {text, static_cast<size_t>(std::clamp<int>(length, 0, sizeof text - 1))};
}

std::string size_text(int64_t bytes) {
  constexpr int64_t kKiB = 1024, kMiB = kKiB * kKiB, kGiB = kMiB * kKiB;
  for (const auto& [unit, name] : {std::pair{kGiB, "GiB"}, {kMiB, "MiB"}, {kKiB, "KiB"}}) {
    if (bytes >= unit && bytes % unit == 0) return std::to_string(bytes / unit) + " " + name;
  }
  return std::to_string(bytes) + " B";
}

ContenderStanding stand(std::span<const MeasuredRow> rows, const Contender& contender, int64_t byte_count) {
  ContenderStanding standing{.contender = contender.name, .camp = contender.camp};
  std::vector<double> tails, bandwidths;
  for (const MeasuredRow& row : rows) {
    if (row.contender != contender.name || row.byte_count != byte_count) continue;
    standing.rounds_us.push_back(row.p50_us);
    tails.push_back(row.p99_us);
    bandwidths.push_back(row.algbw_gbs);
    standing.wrong += row.wrong;
  }
  standing.p50_us = median(standing.rounds_us);
  standing.p99_us = median(std::move(tails));
  standing.algbw_gbs = median(std::move(bandwidths));
  return standing;
}

std::optional<Ratio> ratio_of(std::span<const ContenderStanding> standings, Camp camp) {
  const ContenderStanding *ours = nullptr, *best = nullptr;
  for (const ContenderStanding& standing : standings) {
    if (standing.rounds_us.empty()) continue;
    if (standing.camp == Camp::kOurs) ours = &standing;
    if (standing.camp == camp && (best == nullptr || standing.p50_us < best->p50_us)) best = &standing;
  }
  if (ours == nullptr || best == nullptr || ours->p50_us <= 0) return std::nullopt;
  Ratio ratio{.camp = camp, .best = best->contender, .ratio = best->p50_us / ours->p50_us};
  std::vector<double> rounds;
  for (size_t i = 0; i < std::min(ours->rounds_us.size(), best->rounds_us.size()); ++i) {
    rounds.push_back(best->rounds_us[i] / ours->rounds_us[i]);
  }
  const auto [least, greatest] = std::minmax_element(rounds.begin(), rounds.end());
  ratio.least_round = *least;
  ratio.greatest_round = *greatest;
  ratio.interval = median_interval(std::move(rounds));
  return ratio;
}

std::optional<double> median_share(std::span<const MeasuredRow> rows, int64_t byte_count) {
  std::vector<double> shares;
  for (const MeasuredRow& row : rows) {
    if (row.byte_count != byte_count || row.json["transport"] != "shm") continue;
    if (const auto share = row.json.find("floor_share"); share != row.json.end() && share->is_number()) {
      shares.push_back(share->get<double>());
    }
  }
  if (shares.empty()) return std::nullopt;
  return median(std::move(shares));
}

}  // namespace

Result<ContenderOutput> parse_output(const std::string& text) {
  ContenderOutput output;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    try {
      auto json = nlohmann::ordered_json::parse(line);
      const std::string kind = json.at("kind");
      if (kind == "header") output.header = json;
      if (kind != "row") continue;
      output.rows.push_back({.contender = json.at("contender"),
                             .byte_count = json.at("bytes"),
                             .round = json.at("round"),
                             .p50_us = json.at("p50_us"),
                             .p99_us = json.at("p99_us"),
                             .algbw_gbs = json.at("algbw_gbs"),
                             .wrong = json.at("wrong"),
                             .json = json});
    } catch (const nlohmann::json::exception& error) {
      return Status(Code::kCorrupt, "not a row of a benchmark: " + line + " (" + error.what() + ")");
    }
  }
  // A header alone is of a contender that can serve none of the sizes.
  if (output.header.is_null() && output.rows.empty())
    return Status(Code::kCorrupt, "no header and no row of a benchmark was written");
  return output;
}

std::optional<Interval> median_interval(std::vector<double> values) {
  const auto count = static_cast<int>(values.size());
  std::sort(values.begin(), values.end());
  // The median lies outside of [k-th, k-th from above] with twice the chance that a coin falls heads fewer than k
  // times.
  double chance = std::pow(0.5, count), below = 0;
  int k = 0;
  while (k < count && below + chance <= 0.025) {
    below += chance;
    ++k;
    chance = chance * (count - k + 1) / k;
  }
  if (k == 0) return std::nullopt;
  return Interval{.low = values[static_cast<size_t>(k - 1)], .high = values[static_cast<size_t>(count - k)]};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::vector<SizeComparison> compare(std::span<const MeasuredRow> rows, std::span<const Contender> contenders) {
  std::vector<SizeComparison> comparisons;
  for (const MeasuredRow& row : rows) {
    const auto known = [&](const SizeComparison& comparison) { return comparison.byte_count == row.byte_count; };
    if (std::any_of(comparisons.begin(), comparisons.end(), known)) continue;
    SizeComparison comparison{.byte_count = row.byte_count};
    for (const Contender& contender : contenders) {
      comparison.standings.push_back(stand(rows, contender, row.byte_count));
    }
    for (const Camp camp : {Camp::kMpi, Camp::kGloo}) {
      if (auto ratio = ratio_of(comparison.standings, camp)) comparison.ratios.push_back(*std::move(ratio));
    }
    comparison.floor_share = median_share(rows, row.byte_count);
    comparisons.push_back(std::move(comparison));
  }
  return comparisons;
}

void fill_ratios(std::vector<MeasuredRow>& rows, const std::string& ours) {
  std::map<std::pair<int64_t, int>, double> best;  // by size and round
  for (const MeasuredRow& row : rows) {
    if (row.contender == ours) continue;
    const auto [at, is_new] = best.try_emplace({row.byte_count, row.round}, row.p50_us);
    if (!is_new) at->second = std::min(at->second, row.p50_us);
  }
  for (MeasuredRow& row : rows) {
    const auto found = best.find({row.byte_count, row.round});
    if (row.contender != ours || found == best.end() || row.p50_us <= 0) continue;
    row.json["ratio_best_rival"] = found->second / row.p50_us;
  }
}

std::string comparison_text(const SizeComparison& comparison, const std::string& title) {
  std::string text =
      size_text(comparison.byte_count) + ", " + title + "\n" +
      formatted("  %-32s %12s %12s %12s %8s\n", "contender", "p50 (us)", "p99 (us)", "algbw (GB/s)", "#wrong");
  for (const ContenderStanding& standing : comparison.standings) {
    if (standing.rounds_us.empty()) {
      text += formatted("  %-32s cannot serve this size\n", standing.contender.c_str());
      continue;
    }
    text += formatted("  %-32s %12.2f %12.2f %12.3f %8lld\n", standing.contender.c_str(), standing.p50_us,
                      standing.p99_us, standing.algbw_gbs, static_cast<long long>(standing.wrong));
  }
  for (const Ratio& ratio : comparison.ratios) {
    text += formatted("  best %s takes %.2f x as long as Rondo: %s; rounds %.2f to %.2f", camp_name(ratio.camp).c_str(),
                      ratio.ratio, ratio.best.c_str(), ratio.least_round, ratio.greatest_round);
    text += ratio.interval
                ? formatted(", 95 %% interval of the median %.2f to %.2f\n", ratio.interval->low, ratio.interval->high)
                : ", too few rounds for an interval\n";
  }
  if (comparison.floor_share) {
    text += formatted("  Rondo runs at %.0f %% of the memory floor (2S bytes a rank at this run's copy rate)\n",
                      *comparison.floor_share * 100);
  }
  return text;
}

std::string comparison_json(const SizeComparison& comparison, std::span<const MeasuredRow> rows) {
  std::string text;
  double best_rival = 0;
  for (const ContenderStanding& standing : comparison.standings) {
    if (standing.camp == Camp::kOurs || standing.rounds_us.empty()) continue;
    best_rival = best_rival == 0 ? standing.p50_us : std::min(best_rival, standing.p50_us);
  }
  for (const ContenderStanding& standing : comparison.standings) {
    const auto of_standing = [&](const MeasuredRow& row) {
      return row.contender == standing.contender && row.byte_count == comparison.byte_count;
    };
    const auto row = std::find_if(rows.begin(), rows.end(), of_standing);
    if (row == rows.end()) continue;
    nlohmann::ordered_json json = row->json;  // what stays the same over rounds
    for (const char* of_one_round : {"flag_before_ns", "flag_after_ns", "copy_gbs", "floor_us", "floor_share"}) {
      json.erase(of_one_round);
    }
    double least = row->json["min_us"], greatest = row->json["max_us"];
    int64_t calls = 0;
    for (const MeasuredRow& other : rows) {
      if (!of_standing(other)) continue;
      least = std::min(least, other.json["min_us"].get<double>());
      greatest = std::max(greatest, other.json["max_us"].get<double>());
      calls += other.json.value("calls", int64_t{0});
    }
    const double algbw = row->algbw_gbs;
    const double bus_factor = algbw > 0 ? row->json["busbw_gbs"].get<double>() / algbw : 0;
    json["kind"] = "summary";
    json["round"] = nullptr;
    json["calls"] = calls;
    json["min_us"] = least;
    json["p50_us"] = standing.p50_us;
    json["p99_us"] = standing.p99_us;
    json["max_us"] = greatest;
    json["algbw_gbs"] = standing.algbw_gbs;
    json["busbw_gbs"] = standing.algbw_gbs * bus_factor;
    json["wrong"] = standing.wrong;
    json["ratio_best_rival"] = nullptr;
    if (standing.camp == Camp::kOurs) {
      if (best_rival > 0 && standing.p50_us > 0) json["ratio_best_rival"] = best_rival / standing.p50_us;
      for (const Ratio& ratio : comparison.ratios) {
        auto& entry = json["ratios"][camp_name(ratio.camp)];
        entry = {{"best", ratio.best},
                 {"ratio", ratio.ratio},
                 {"least_round", ratio.least_round},
                 {"greatest_round", ratio.greatest_round}};
        if (ratio.interval) entry["interval95"] = {ratio.interval->low, ratio.interval->high};
      }
      if (comparison.floor_share) json["floor_share"] = *comparison.floor_share;
    }
    text += json.dump() + "\n";
  }
  return text;
}

}  // namespace rondo::launcher
