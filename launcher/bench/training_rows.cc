#include "launcher/bench/training_rows.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <sstream>

namespace rondo::launcher {
namespace {

constexpr double kLossTolerance = 1e-3;

template <typename... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), format, arguments...);
  return text.data();
}

std::vector<const TrainingRow*> rows_of(std::span<const TrainingRow> rows, const std::string& model,
                                        const std::string& contender) {
  std::vector<const TrainingRow*> found;
  for (const TrainingRow& row : rows) {
    if (row.model == model && row.contender == contender) found.push_back(&row);
  }
  return found;
}

std::vector<std::string> contenders_of(std::span<const TrainingRow> rows, const std::string& model) {
  std::vector<std::string> names;
  for (const TrainingRow& row : rows) {
    if (row.model == model && std::ranges::find(names, row.contender) == names.end()) names.push_back(row.contender);
  }
  return names;
}

double median_of(const std::vector<const TrainingRow*>& rows, const char* field) {
  std::vector<double> values;
  for (const TrainingRow* row : rows) {
    if (row->json.contains(field)) values.push_back(row->json[field].get<double>());
  }
  return median(std::move(values));
}

struct Pair {
  std::string faster, slower, what;
};

/// The comparisons that make sense, with the rival's best setting.
std::vector<Pair> pairs_of(std::span<const TrainingRow> rows, const std::string& model) {
  std::vector<Pair> pairs;
  if (const std::string rival = best_of(rows, model, {"pytorch-view", "pytorch-static"}); !rival.empty()) {
    pairs.push_back({"rondo", rival, "Rondo's samples/s over the best of PyTorch DDP + Gloo"});
    pairs.push_back({"rondo-no-overlap", rival, "the same without overlap"});
  }
  pairs.push_back({"rondo", "rondo-no-overlap", "overlap on over off"});
  pairs.push_back({"wrapped", "loop", "one worker, wrapped over the plain loop"});
  pairs.push_back({"wrapped-full", "loop", "one worker, full path over the plain loop"});
  return pairs;
}

/// Peak memory that the wrapper adds, in gradient sizes; nothing without both rows.
struct WrapperMemory {
  double peak = 0, shared = 0;  // by VmHWM; by Pss after the last step
  int64_t gradient_bytes = 0;
};
std::optional<WrapperMemory> wrapper_memory(std::span<const TrainingRow> rows, const std::string& model) {
  const auto plain = rows_of(rows, model, "memory-plain"), wrapped = rows_of(rows, model, "memory-wrapped");
  if (plain.empty() || wrapped.empty()) return std::nullopt;
  const auto gradient = plain.front()->json.value("gradient_bytes", int64_t{0});
  if (gradient <= 0) return std::nullopt;
  const auto added = [&](const char* field) {
    return (median_of(wrapped, field) - median_of(plain, field)) / static_cast<double>(gradient);
  };
  return WrapperMemory{.peak = added("peak_rss_bytes"), .shared = added("pss_bytes"), .gradient_bytes = gradient};
}

/// The contender against whose loss `row` is held; its own where nothing is comparable.
std::string reference_for(std::span<const TrainingRow> rows, const std::string& model, const TrainingRow& row) {
  if (row.contender == "memory-plain") return row.contender;  // ranks without a mean: each ends where its data leads
  for (const char* name : {"rondo", "loop"}) {
    const auto found = rows_of(rows, model, name);
    if (!found.empty() && found.front()->ranks == row.ranks && found.front()->json["steps"] == row.json["steps"])
      return name;
  }
  return row.contender;
}

std::vector<std::string> refused(std::span<const TrainingRow> rows, const std::string& model) {
  std::vector<std::string> names;
  for (const std::string& name : contenders_of(rows, model)) {
    for (const TrainingRow* row : rows_of(rows, model, name)) {
      const std::string reference = reference_for(rows, model, *row);
      const double right = rows_of(rows, model, reference).front()->loss;
      // Also true for a loss that is no number.
      if (!(std::abs(row->loss - right) <= kLossTolerance * std::max(1.0, std::abs(right)))) {
        names.push_back(name);
        break;
      }
    }
  }
  return names;
}

}  // namespace

comm::Result<std::vector<TrainingRow>> parse_training_rows(const std::string& text) {
  std::vector<TrainingRow> rows;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    try {
      auto json = nlohmann::ordered_json::parse(line);
      rows.push_back({.model = json.at("model"),
                      .contender = json.at("contender"),
                      .round = json.at("round"),
                      .ranks = json.at("ranks"),
                      .samples_per_second = json.at("samples_per_second"),
                      .step_us = json.at("step_p50_us"),
                      // null: not a number, which no comparison accepts
                      .loss = json.at("loss").is_null() ? NAN : json.at("loss").get<double>(),
                      .json = json});
      static_cast<void>(json.at("steps").get<int64_t>());
    } catch (const nlohmann::json::exception& error) {
      return comm::Status(comm::Code::kCorrupt, "not a row of a benchmark: " + line + " (" + error.what() + ")");
    }
  }
  if (rows.empty()) return comm::Status(comm::Code::kCorrupt, "no row of a benchmark was written");
  return rows;
}

std::optional<SpeedRatio> speed_ratio(std::span<const TrainingRow> rows, const std::string& model,
                                      const std::string& faster, const std::string& slower) {
  std::map<int, double> base;
  for (const TrainingRow* row : rows_of(rows, model, slower)) base[row->round] = row->samples_per_second;
  std::vector<double> ratios;
  for (const TrainingRow* row : rows_of(rows, model, faster)) {
    const auto found = base.find(row->round);
    if (found != base.end() && found->second > 0) ratios.push_back(row->samples_per_second / found->second);
  }
  if (ratios.empty()) return std::nullopt;
  const auto [least, greatest] = std::ranges::minmax(ratios);
  return SpeedRatio{.median = median(ratios),
                    .least = least,
                    .greatest = greatest,
                    .interval = median_interval(ratios),
                    .rounds = static_cast<int>(ratios.size())};
}

std::string best_of(std::span<const TrainingRow> rows, const std::string& model,
                    const std::vector<std::string>& candidates) {
  std::string best;
  double speed = 0;
  for (const std::string& name : candidates) {
    const double median_speed = median_of(rows_of(rows, model, name), "samples_per_second");
    if (median_speed > speed) {
      best = name;
      speed = median_speed;
    }
  }
  return best;
}

std::vector<std::string> loss_differences(std::span<const TrainingRow> rows, const std::string& model) {
  std::vector<std::string> sentences;
  for (const std::string& name : refused(rows, model)) {
    const TrainingRow& row = *rows_of(rows, model, name).front();
    const std::string reference = reference_for(rows, model, row);
    sentences.push_back(formatted("%s on %s is refused: its loss is %.6g, that of %s %.6g", name.c_str(), model.c_str(),
                                  row.loss, reference.c_str(), rows_of(rows, model, reference).front()->loss));
  }
  return sentences;
}

std::string training_text(std::span<const TrainingRow> rows, const std::string& model) {
  std::string text = formatted("  %-18s %10s %14s %12s %12s %12s\n", "contender", "samples/s", "step p50 (ms)",
                               "exposed (ms)", "peak (MB)", "loss");
  for (const std::string& name : contenders_of(rows, model)) {
    const auto own = rows_of(rows, model, name);
    const bool reduces = own.front()->json.contains("exposed_us");
    text += formatted("  %-18s %10.1f %14.2f %12s %12.1f %12.6g\n", name.c_str(), median_of(own, "samples_per_second"),
                      median_of(own, "step_p50_us") / 1e3,
                      reduces ? formatted("%.2f", median_of(own, "exposed_us") / 1e3).c_str() : "-",
                      median_of(own, "peak_rss_bytes") / 1e6, own.front()->loss);
  }
  const auto without = refused(rows, model);
  for (const Pair& pair : pairs_of(rows, model)) {
    const auto ratio = speed_ratio(rows, model, pair.faster, pair.slower);
    if (!ratio || std::ranges::count(without, pair.faster) + std::ranges::count(without, pair.slower) > 0) continue;
    text += formatted("  %s: %.3f (%s / %s, %d rounds from %.3f to %.3f", pair.what.c_str(), ratio->median,
                      pair.faster.c_str(), pair.slower.c_str(), ratio->rounds, ratio->least, ratio->greatest);
    text += ratio->interval ? formatted("; 95 %% interval of the median %.3f to %.3f)\n", ratio->interval->low,
                                        ratio->interval->high)
                            : "; too few rounds for an interval)\n";
  }
  for (const char* name : {"wrapped", "wrapped-full"}) {
    const auto own = rows_of(rows, model, name);
    if (own.empty()) continue;
    text += formatted("  %s moves %.1f MB of gradients through buckets in each step\n", name,
                      median_of(own, "bucket_bytes") / 1e6);
  }
  if (const auto memory = wrapper_memory(rows, model)) {
    text +=
        formatted("  the wrapper adds %.2f gradient sizes (%.1f MB) to a rank's peak, %.2f with shared pages divided\n",
                  memory->peak, static_cast<double>(memory->gradient_bytes) / 1e6, memory->shared);
  }
  for (const std::string& sentence : loss_differences(rows, model)) text += "  " + sentence + "\n";
  return text;
}

std::string training_json(std::span<const TrainingRow> rows, const std::string& model) {
  std::string text;
  const auto without = refused(rows, model);
  for (const Pair& pair : pairs_of(rows, model)) {
    const auto ratio = speed_ratio(rows, model, pair.faster, pair.slower);
    if (!ratio || std::ranges::count(without, pair.faster) + std::ranges::count(without, pair.slower) > 0) continue;
    nlohmann::ordered_json json{{"kind", "ratio"},
                                {"bench", "train"},
                                {"model", model},
                                {"of", pair.faster},
                                {"to", pair.slower},
                                {"rounds", ratio->rounds},
                                {"median", ratio->median},
                                {"least_round", ratio->least},
                                {"greatest_round", ratio->greatest}};
    if (ratio->interval) json["interval95"] = {ratio->interval->low, ratio->interval->high};
    text += json.dump() + "\n";
  }
  if (const auto memory = wrapper_memory(rows, model)) {
    text += nlohmann::ordered_json{{"kind", "memory"},
                                   {"bench", "train"},
                                   {"model", model},
                                   {"gradient_bytes", memory->gradient_bytes},
                                   {"peak_gradient_sizes", memory->peak},
                                   {"shared_gradient_sizes", memory->shared}}
                .dump() +
            "\n";
  }
  for (const std::string& name : without) {
    text +=
        nlohmann::ordered_json{{"kind", "refused"}, {"bench", "train"}, {"model", model}, {"contender", name}}.dump() +
        "\n";
  }
  return text;
}

}  // namespace rondo::launcher
