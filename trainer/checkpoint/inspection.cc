#include "trainer/checkpoint/inspection.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "rondo/error.h"
#include "trainer/checkpoint/retention.h"

namespace rondo::trainer {
namespace {

using Json = nlohmann::ordered_json;

/// In local time; "" when it is not known.
std::string date_text(int64_t seconds) {
  if (seconds == 0) return "";
  const auto time = static_cast<std::time_t>(seconds);
  std::tm local{};
  localtime_r(&time, &local);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
  return text.data();
}

std::string number_text(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return text.data();
}

std::string metrics_text(const std::map<std::string, double>& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics) text += (text.empty() ? "" : ", ") + name + " " + number_text(value);
  return text;
}

/// Columns as wide as their widest cell, two spaces apart.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += (i == 0 ? "" : "  ") + row[i] + std::string(widths[i] - row[i].size(), ' ');
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

Json metrics_json(const std::map<std::string, double>& metrics) {
  Json json = Json::object();
  for (const auto& [name, value] : metrics) json[name] = value;
  return json;
}

Json status_json(const CheckpointStatus& status) {
  return {{"name", status.folder.filename().string()},
          {"path", status.folder.string()},
          {"step", status.manifest.step},
          {"bytes", status.byte_count},
          {"written", status.manifest.written},
          {"world_size", status.manifest.world_size},
          {"recipe", status.manifest.recipe},
          {"metrics", metrics_json(status.manifest.metrics)},
          {"best", status.best},
          {"valid", status.problem.empty()},
          {"problem", status.problem}};
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string shape_of(const TensorRecord& tensor) {
  std::string text = "[";
  for (const int64_t extent : tensor.shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

void append_map(std::string& text, const char* title, const std::map<std::string, std::string>& values) {
  if (values.empty()) return;
  text += std::string(title) + ":\n";
  for (const auto& [name, value] : values) text += "  " + name + " = " + value + "\n";
}

}  // namespace

std::string bytes_text(int64_t byte_count) {
  constexpr std::array kUnits{"KB", "MB", "GB", "TB"};
  if (byte_count < 1000) return std::to_string(byte_count) + " bytes";
  auto value = static_cast<double>(byte_count);
  size_t unit = 0;
  for (value /= 1000; value >= 999.95 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, kUnits[unit]);
  return text.data();
}

CheckpointStatus inspect_checkpoint(const std::filesystem::path& folder, Scrutiny scrutiny) {
  CheckpointStatus status{.folder = folder};
  try {
    status.manifest = open_checkpoint(folder, scrutiny).manifest;
  } catch (const Error& error) {
    status.problem = error.what();
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.is_regular_file()) status.byte_count += static_cast<int64_t>(entry.file_size());
  }
  const auto best = std::filesystem::read_symlink(folder.parent_path() / kBestLink, ignored);
  status.best = !best.empty() && best.filename() == folder.filename();
  return status;
}

std::vector<CheckpointStatus> inspect_checkpoints(const std::filesystem::path& checkpoints, Scrutiny scrutiny) {
  std::vector<CheckpointStatus> all;
  for (const CheckpointFolder& folder : checkpoint_folders(checkpoints)) {
    all.push_back(inspect_checkpoint(folder.path, scrutiny));
    all.back().manifest.step = folder.step;
  }
  if (all.empty()) throw Error("there is no checkpoint in " + checkpoints.string(), ExitCode::kPreflight);
  return all;
}

std::string list_text(const std::vector<CheckpointStatus>& all) {
  std::vector<std::vector<std::string>> rows{{"checkpoint", "size", "written", "state", "metrics"}};
  for (const CheckpointStatus& one : all) {
    rows.push_back({one.folder.filename().string(), bytes_text(one.byte_count), date_text(one.manifest.written),
                    one.problem.empty() ? "valid" : "damaged",
                    metrics_text(one.manifest.metrics) + (one.best ? " (best)" : "")});
  }
  std::string text = table(rows);
  for (const CheckpointStatus& one : all) {
    if (!one.problem.empty()) text += one.problem + "\n";
  }
  return text;
}

std::string list_json(const std::vector<CheckpointStatus>& all) {
  Json list = Json::array();
  for (const CheckpointStatus& one : all) list.push_back(status_json(one));
  return dump({{"schema", 1}, {"checkpoints", list}});
}

CheckpointContent read_content(const std::filesystem::path& folder) {
  CheckpointContent content{.checkpoint = open_checkpoint(folder, Scrutiny::kSizes), .files = {}};
  for (const auto& [name, file] : content.checkpoint.manifest.files)
    content.files[name] = read_safetensors_header(folder / name);
  return content;
}

std::string content_text(const CheckpointContent& content) {
  const Manifest& manifest = content.checkpoint.manifest;
  std::string text = content.checkpoint.folder.string() + "\n";
  text += "step " + std::to_string(manifest.step) + ", epoch " + std::to_string(manifest.cursor.epoch) + ", " +
          std::to_string(manifest.world_size) + (manifest.world_size == 1 ? " rank" : " ranks") +
          (manifest.recipe.empty() ? "" : ", recipe " + manifest.recipe) +
          (manifest.written == 0 ? "" : ", written " + date_text(manifest.written)) + "\n";
  if (!manifest.metrics.empty()) text += "metrics: " + metrics_text(manifest.metrics) + "\n";
  append_map(text, "config", manifest.config);
  append_map(text, "facts", manifest.facts);
  append_map(text, "tied weights", manifest.aliases);
  if (!manifest.parts.empty()) {
    text += "parts:\n";
    for (const auto& [name, files] : manifest.parts)
      text += "  " + name + (files == 0 ? "" : " (each rank's own, of " + std::to_string(files) + ")") + "\n";
  }
  for (const auto& [name, header] : content.files) {
    text += name + ": " + std::to_string(header.tensors.size()) + " tensors, " +
            bytes_text(manifest.files.at(name).byte_count) + "\n";
    std::vector<std::vector<std::string>> rows;
    for (const TensorRecord& tensor : header.tensors)
      rows.push_back({"  " + tensor.name, tensor.dtype, shape_of(tensor)});
    text += table(rows);
    for (const auto& [key, value] : header.metadata)
      if (key != "format") text += "  " + key + " = " + value + "\n";
  }
  return text;
}

std::string content_json(const CheckpointContent& content) {
  const Manifest& manifest = content.checkpoint.manifest;
  Json files = Json::array();
  for (const auto& [name, header] : content.files) {
    Json tensors = Json::array();
    for (const TensorRecord& tensor : header.tensors)
      tensors.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}});
    files.push_back({{"name", name},
                     {"bytes", manifest.files.at(name).byte_count},
                     {"sha256", manifest.files.at(name).sha256},
                     {"tensors", tensors},
                     {"texts", header.metadata}});
  }
  return dump({{"schema", 1},
               {"path", content.checkpoint.folder.string()},
               {"step", manifest.step},
               {"epoch", manifest.cursor.epoch},
               {"written", manifest.written},
               {"world_size", manifest.world_size},
               {"recipe", manifest.recipe},
               {"metrics", metrics_json(manifest.metrics)},
               {"config", manifest.config},
               {"facts", manifest.facts},
               {"aliases", manifest.aliases},
               {"parts", manifest.parts},
               {"params_hash", manifest.params_hash},
               {"files", files}});
}

}  // namespace rondo::trainer
