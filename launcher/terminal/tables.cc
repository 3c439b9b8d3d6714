#include "launcher/terminal/tables.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using nlohmann::ordered_json;

constexpr const char* kUnknown = "-";

std::string number_text(const char* format, double number) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), format, number);
  return text.data();
}

const char* phase_name(control::RunPhase phase) {
  switch (phase) {
    case control::RUN_PHASE_GATHERING:
      return "gathering";
    case control::RUN_PHASE_RUNNING:
      return "running";
    case control::RUN_PHASE_STOPPING:
      return "stopping";
    case control::RUN_PHASE_SUSPENDED:
      return "suspended";
    default:
      return "unknown";
  }
}

std::string state_name(const SeenRun& run) {
  switch (run.state) {
    case SeenRun::State::kSuspended:
      return "suspended";
    case SeenRun::State::kSilent:
      return "silent";
    case SeenRun::State::kAnswers:
      break;
  }
  return phase_name(run.said.phase());
}

std::chrono::seconds age_of(const control::RunDescription& run, Moment now) {
  const auto since = now.time_since_epoch() - std::chrono::milliseconds(run.started_ms());
  return std::max(std::chrono::floor<std::chrono::seconds>(since), std::chrono::seconds(0));
}

std::string step_text(const control::TrainingState& training) {
  std::string text = "epoch " + std::to_string(training.epoch()) + "/" + std::to_string(training.epochs()) + " step " +
                     std::to_string(training.step());
  if (training.steps() > 0) text += "/" + std::to_string(training.steps());
  return text;
}

/// The newest of all ranks: of most recipes only rank 0 tells.
const control::TrainingState* newest(const control::RunDescription& run) {
  const control::TrainingState* best = nullptr;
  for (const control::RankState& rank : run.ranks()) {
    if (!rank.has_training()) continue;
    const auto place = [](const control::TrainingState& at) { return std::pair(at.epoch(), at.step()); };
    if (best == nullptr || place(*best) < place(rank.training())) best = &rank.training();
  }
  return best;
}

std::string rank_state(const control::RankState& rank) {
  if (rank.has_ending()) {
    const auto& ending = rank.ending();
    if (ending.lost()) return "lost";
    return ending.signal() != 0 ? "signal " + signal_text(ending.signal())
                                : "exit " + std::to_string(ending.exit_code());
  }
  if (rank.pid() == 0) return "starting";
  const std::string& letter = rank.usage().state();
  return letter == "T" ? "stopped" : letter == "D" ? "in the kernel" : letter == "Z" ? "ending" : "running";
}

ordered_json training_json(const control::TrainingState& training) {
  return {{"epoch", training.epoch()}, {"epochs", training.epochs()},
          {"step", training.step()},   {"steps", training.steps()},
          {"loss", training.loss()},   {"samples_per_second", training.samples_per_second()},
          {"phase", training.phase()}};
}

std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string age_text(std::chrono::seconds age) {
  const int64_t seconds = age.count(), minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  std::array<char, 32> text{};
  const auto pair = [&](const char* format, int64_t large, int64_t small) {
    std::snprintf(text.data(), text.size(), format, static_cast<long long>(large), static_cast<long long>(small));
  };
  if (days > 0) {
    pair("%lldd%02lldh", days, hours % 24);
  } else if (hours > 0) {
    pair("%lldh%02lldm", hours, minutes % 60);
  } else if (minutes > 0) {
    pair("%lldm%02llds", minutes, seconds % 60);
  } else {
    return std::to_string(seconds) + "s";
  }
  return text.data();
}

std::string bytes_text(uint64_t bytes) {
  const auto amount = static_cast<double>(bytes);
  if (bytes >= uint64_t{1} << 30) return number_text("%.1f GiB", amount / (1 << 30));
  if (bytes >= uint64_t{1} << 20) return number_text("%.0f MiB", amount / (1 << 20));
  return number_text("%.0f KiB", amount / 1024);
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string ps_table(std::span<const SeenRun> runs, Moment now) {
  if (runs.empty()) return "no run goes on here\n";
  std::vector<std::vector<std::string>> rows{
      {"RUN", "PROGRAM", "RANKS", "HOSTS", "GENERATION", "SINCE", "STATE", "STEP"}};
  for (const SeenRun& run : runs) {
    if (run.state != SeenRun::State::kAnswers) {
      rows.push_back({run.door.run, kUnknown, kUnknown, kUnknown, kUnknown, kUnknown, state_name(run), kUnknown});
      continue;
    }
    const control::RunDescription& said = run.said;
    const bool met = said.phase() != control::RUN_PHASE_GATHERING;
    const control::TrainingState* const training = newest(said);
    rows.push_back({printable(said.run_id()), printable(std::filesystem::path(said.program()).filename().string()),
                    met ? std::to_string(said.ranks_size()) : kUnknown, met ? std::to_string(said.hosts()) : kUnknown,
                    std::to_string(said.generation()), age_text(age_of(said, now)), state_name(run),
                    training ? step_text(*training) : kUnknown});
  }
  return table_text(rows);
}

std::string ps_json(std::span<const SeenRun> runs) {
  ordered_json all = ordered_json::array();
  for (const SeenRun& run : runs) {
    ordered_json one{{"run", run.door.run}, {"launcher_pid", run.door.launcher}, {"state", state_name(run)}};
    if (run.state == SeenRun::State::kAnswers) {
      one["run"] = run.said.run_id();
      one["program"] = run.said.program();
      one["folder"] = run.said.folder();
      one["ranks"] = run.said.ranks_size();
      one["hosts"] = run.said.hosts();
      one["generation"] = run.said.generation();
      one["started_ms"] = run.said.started_ms();
      const control::TrainingState* const training = newest(run.said);
      one["training"] = training ? training_json(*training) : ordered_json();
    }
    all.push_back(std::move(one));
  }
  return dumped({{"runs", std::move(all)}});
}

std::string top_table(const control::RunDescription& run, Moment now) {
  std::string text = printable(run.run_id()) + ": " + phase_name(run.phase()) + " for " + age_text(age_of(run, now)) +
                     ", " + counted(static_cast<size_t>(run.ranks_size()), "rank") + " on " +
                     counted(static_cast<size_t>(run.hosts()), "host") + ", generation " +
                     std::to_string(run.generation()) + "\n";
  std::vector<std::vector<std::string>> rows{
      {"RANK", "HOST", "PID", "STATE", "CPU", "MEMORY", "SAID", "LOSS", "SAMPLES/S", "STEP"}};
  for (const control::RankState& rank : run.ranks()) {
    const bool used = rank.has_usage(), trains = rank.has_training();
    rows.push_back(
        {std::to_string(rank.rank()), printable(rank.host()), rank.pid() > 0 ? std::to_string(rank.pid()) : kUnknown,
         rank_state(rank),
         used && rank.usage().has_cpu_percent() ? number_text("%.0f %%", rank.usage().cpu_percent()) : kUnknown,
         used ? bytes_text(rank.usage().resident_bytes()) : kUnknown,
         rank.has_line_age_ms() ? age_text(std::chrono::seconds(rank.line_age_ms() / 1000)) + " ago" : kUnknown,
         trains ? number_text("%.4f", rank.training().loss()) : kUnknown,
         trains ? number_text("%.0f", rank.training().samples_per_second()) : kUnknown,
         trains ? step_text(rank.training()) : kUnknown});
  }
  return text + table_text(rows);
}

std::string top_json(const control::RunDescription& run) {
  ordered_json ranks = ordered_json::array();
  for (const control::RankState& rank : run.ranks()) {
    ordered_json one{{"rank", rank.rank()},
                     {"host", rank.host()},
                     {"pid", rank.pid() > 0 ? ordered_json(rank.pid()) : ordered_json()},
                     {"state", rank_state(rank)},
                     {"cpu_percent", nullptr},
                     {"resident_bytes", nullptr},
                     {"line_age_ms", rank.has_line_age_ms() ? ordered_json(rank.line_age_ms()) : ordered_json()},
                     {"training", rank.has_training() ? training_json(rank.training()) : ordered_json()}};
    if (rank.has_usage()) {
      one["resident_bytes"] = rank.usage().resident_bytes();
      if (rank.usage().has_cpu_percent()) one["cpu_percent"] = rank.usage().cpu_percent();
    }
    ranks.push_back(std::move(one));
  }
  return dumped({{"run", run.run_id()},
                 {"state", phase_name(run.phase())},
                 {"generation", run.generation()},
                 {"hosts", run.hosts()},
                 {"started_ms", run.started_ms()},
                 {"ranks", std::move(ranks)}});
}

}  // namespace rondo::launcher
