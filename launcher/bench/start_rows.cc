#include "launcher/bench/start_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <sstream>

#include "launcher/cli/nearest_name.h"

namespace rondo::launcher {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kOurs = "rondo";
constexpr const char* kHeldAgainst = "torchrun";  // as it comes; its ratio with other settings is shown beside it
constexpr double kLossTolerance = 1e-3;

template <typename... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
  char text[256];
  const int length = std::snprintf(text, sizeof text, format, arguments...);
  return {text, static_cast<size_t>(std::clamp<int>(length, 0, sizeof text - 1))};
}

std::vector<std::string> contenders_of(std::span<const StartRow> rows, StartCase what) {
  std::vector<std::string> names;
  for (const StartRow& row : rows) {
    if (row.what == what && std::ranges::find(names, row.contender) == names.end()) names.push_back(row.contender);
  }
  return names;
}

/// By round.
std::map<int, double> times_of(std::span<const StartRow> rows, StartCase what, const std::string& contender) {
  std::map<int, double> times;
  for (const StartRow& row : rows) {
    if (row.what == what && row.contender == contender) times[row.round] = row.ms;
  }
  return times;
}

struct Summary {
  double p50 = 0, p99 = 0, max = 0;
  size_t count = 0;
};
Summary summary_of(std::span<const StartRow> rows, StartCase what, const std::string& contender) {
  std::vector<double> times;
  for (const auto& [round, ms] : times_of(rows, what, contender)) times.push_back(ms);
  std::ranges::sort(times);
  if (times.empty()) return {};
  const auto rank = static_cast<size_t>(std::ceil(0.99 * static_cast<double>(times.size())));
  return {.p50 = median(times), .p99 = times[rank - 1], .max = times.back(), .count = times.size()};
}

const char* title_of(StartCase what) {
  switch (what) {
    case StartCase::kEmpty:
      return "empty programs, start to exit";
    case StartCase::kRestart:
      return "a rank is killed, until all ranks run again";
    case StartCase::kFirstStep:
      return "start to the end of the first training step";
  }
  return "";
}

/// Whether the bar is met; empty when nothing says so.
struct BarState {
  std::string text;  // "median below 100 ms"
  std::optional<bool> met;
};
BarState bar_state(std::span<const StartRow> rows, StartCase what) {
  const StartBar bar = bar_of(what);
  if (bar.most_ms > 0) {
    BarState state{.text = formatted("Rondo's median below %.0f ms", bar.most_ms), .met = {}};
    if (const Summary ours = summary_of(rows, what, kOurs); ours.count > 0) state.met = ours.p50 < bar.most_ms;
    return state;
  }
  BarState state{.text = formatted("%s takes at least %.0f x as long as Rondo", kHeldAgainst, bar.least_ratio),
                 .met = {}};
  if (what == StartCase::kFirstStep && !first_step_differences(rows).empty()) return state;
  // The lower end of the interval, where there is one: what may well be chance is not claimed.
  for (const StartRatio& ratio : start_ratios(rows, what))
    if (ratio.rival == kHeldAgainst)
      state.met = (ratio.interval ? ratio.interval->low : ratio.median) >= bar.least_ratio;
  return state;
}

}  // namespace

const char* name_of(StartCase what) {
  switch (what) {
    case StartCase::kEmpty:
      return "empty";
    case StartCase::kRestart:
      return "restart";
    case StartCase::kFirstStep:
      return "first-step";
  }
  return "";
}

comm::Result<std::vector<StartCase>> parse_start_cases(const std::string& text) {
  std::vector<std::string> names;
  for (const StartCase what : kStartCases) names.emplace_back(name_of(what));
  std::vector<StartCase> cases;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) {
      return comm::Status(comm::Code::kInvalidArgument, "--cases: there is no '" + name + "'" +
                                                            suggestion(name, names) +
                                                            "; there are empty, restart and first-step");
    }
    const StartCase what = kStartCases[static_cast<size_t>(found - names.begin())];
    if (std::ranges::find(cases, what) == cases.end()) cases.push_back(what);
  }
  if (cases.empty()) return comm::Status(comm::Code::kInvalidArgument, "--cases: which? empty, restart, first-step");
  return cases;
}

Json row_json(const StartRow& row) {
  Json json{{"kind", "row"},
            {"bench", "start"},
            {"case", name_of(row.what)},
            {"contender", row.contender},
            {"round", row.round},
            {"ranks", row.ranks},
            {"ms", row.ms}};
  if (row.loss) json["loss"] = *row.loss;
  return json;
}

StartBar bar_of(StartCase what) {
  if (what == StartCase::kEmpty) return {.most_ms = 100};
  return {.least_ratio = 5};
}

std::vector<StartRatio> start_ratios(std::span<const StartRow> rows, StartCase what) {
  std::vector<StartRatio> all;
  const auto ours = times_of(rows, what, kOurs);
  for (const std::string& rival : contenders_of(rows, what)) {
    if (rival == kOurs) continue;
    std::vector<double> ratios;
    for (const auto& [round, ms] : times_of(rows, what, rival)) {
      const auto found = ours.find(round);
      if (found != ours.end() && found->second > 0) ratios.push_back(ms / found->second);
    }
    if (ratios.empty()) continue;
    const auto [least, greatest] = std::ranges::minmax(ratios);
    all.push_back({.rival = rival,
                   .median = median(ratios),
                   .least = least,
                   .greatest = greatest,
                   .interval = median_interval(ratios),
                   .rounds = static_cast<int>(ratios.size())});
  }
  return all;
}

std::vector<std::string> first_step_differences(std::span<const StartRow> rows) {
  std::optional<double> right;
  for (const StartRow& row : rows) {
    if (row.what == StartCase::kFirstStep && row.contender == kOurs && !right) right = row.loss;
  }
  std::vector<std::string> sentences;
  std::vector<std::string> named;
  for (const StartRow& row : rows) {
    if (row.what != StartCase::kFirstStep || !right || std::ranges::count(named, row.contender) > 0) continue;
    // Also for a loss that is no number.
    if (row.loss && std::abs(*row.loss - *right) <= kLossTolerance) continue;
    named.push_back(row.contender);
    sentences.push_back(formatted("%s is refused: the loss of its first step is %.6g, that of Rondo %.6g",
                                  row.contender.c_str(), row.loss.value_or(NAN), *right));
  }
  return sentences;
}

std::string start_text(std::span<const StartRow> rows, StartCase what) {
  std::string text =
      formatted("%s (ms)\n  %-18s %10s %10s %10s %5s\n", title_of(what), "contender", "p50", "p99", "max", "N");
  for (const std::string& name : contenders_of(rows, what)) {
    const Summary summary = summary_of(rows, what, name);
    text += formatted("  %-18s %10.2f %10.2f %10.2f %5zu\n", name.c_str(), summary.p50, summary.p99, summary.max,
                      summary.count);
  }
  const auto refused = what == StartCase::kFirstStep ? first_step_differences(rows) : std::vector<std::string>{};
  for (const std::string& sentence : refused) text += "  " + sentence + "\n";
  for (const StartRatio& ratio : start_ratios(rows, what)) {
    if (!refused.empty()) break;
    text += formatted("  %s takes %.1f x as long as Rondo (%d rounds from %.1f to %.1f", ratio.rival.c_str(),
                      ratio.median, ratio.rounds, ratio.least, ratio.greatest);
    text += ratio.interval
                ? formatted("; 95 %% interval of the median %.1f to %.1f)\n", ratio.interval->low, ratio.interval->high)
                : std::string("; too few rounds for an interval)\n");
  }
  const BarState bar = bar_state(rows, what);
  return text + "  bar: " + bar.text + ": " + (!bar.met ? "not measured" : *bar.met ? "met" : "NOT met") + "\n";
}

std::string start_json(std::span<const StartRow> rows, StartCase what) {
  std::string text;
  const auto put = [&](const char* kind, const Json& more) {
    Json json{{"kind", kind}, {"bench", "start"}, {"case", name_of(what)}};
    json.update(more);
    text += json.dump() + "\n";
  };
  for (const std::string& name : contenders_of(rows, what)) {
    const Summary summary = summary_of(rows, what, name);
    put("summary", {{"contender", name},
                    {"p50_ms", summary.p50},
                    {"p99_ms", summary.p99},
                    {"max_ms", summary.max},
                    {"n", summary.count}});
  }
  if (what == StartCase::kFirstStep) {
    const auto refused = first_step_differences(rows);
    for (const std::string& sentence : refused) put("refused", {{"text", sentence}});
    if (!refused.empty()) return text;
  }
  for (const StartRatio& ratio : start_ratios(rows, what)) {
    put("ratio", {{"ours", kOurs},
                  {"rival", ratio.rival},
                  {"ratio", ratio.median},
                  {"least_round", ratio.least},
                  {"greatest_round", ratio.greatest},
                  {"interval_low", ratio.interval ? Json(ratio.interval->low) : Json()},
                  {"interval_high", ratio.interval ? Json(ratio.interval->high) : Json()},
                  {"rounds", ratio.rounds}});
  }
  const BarState bar = bar_state(rows, what);
  put("bar", {{"bar", bar.text}, {"met", bar.met ? Json(*bar.met) : Json()}});
  return text;
}

}  // namespace rondo::launcher
