#include "trainer/checkpoint/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <utility>

#include "rondo/error.h"
#include "trainer/checkpoint/durable_file.h"
#include "trainer/checkpoint/hash.h"

namespace rondo::trainer {
namespace {

using Json = nlohmann::json;
constexpr const char* kStepPrefix = "step-";
constexpr const char* kOwnHash = "manifest_sha256";

/// JSON has no word for numbers that are not finite.
Json metric_json(double value) { return std::isfinite(value) ? Json(value) : Json(std::to_string(value)); }
double metric_of(const Json& json) {
  return json.is_string() ? std::stod(json.get<std::string>()) : json.get<double>();
}

std::string hash_of(Json manifest) {
  manifest.erase(kOwnHash);
  const std::string text = manifest.dump();
  return sha256_of_bytes(std::as_bytes(std::span(text)));
}

bool plain_name(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos;
}

/// The step of "step-00001407".
std::optional<int64_t> step_of(const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  const std::string_view prefix = kStepPrefix;
  if (!name.starts_with(prefix)) return std::nullopt;
  int64_t step = -1;
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || step < 0) return std::nullopt;
  return step;
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%s%08lld", kStepPrefix, static_cast<long long>(step));
  return text.data();
}

std::string encode_manifest(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, file] : manifest.files) files[name] = {{"bytes", file.byte_count}, {"sha256", file.sha256}};
  Json metrics = Json::object();
  for (const auto& [name, value] : manifest.metrics) metrics[name] = metric_json(value);
  Json json = {{"schema", kManifestSchema},
               {"step", manifest.step},
               {"cursor", {{"epoch", manifest.cursor.epoch}, {"step", manifest.cursor.step}}},
               {"seed", manifest.seed},
               {"world_size", manifest.world_size},
               {"written", manifest.written},
               {"recipe", manifest.recipe},
               {"config", manifest.config},
               {"metrics", metrics},
               {"facts", manifest.facts},
               {"aliases", manifest.aliases},
               {"parts", manifest.parts},
               {"params_hash", manifest.params_hash},
               {"files", files}};
  json[kOwnHash] = hash_of(json);
  return json.dump(2) + "\n";
}

Manifest decode_manifest(const std::string& text, const std::string& file) {
  const auto corrupt = [&](const std::string& what) { throw Error(file + ": damaged: " + what, ExitCode::kCorrupt); };
  Manifest manifest;
  try {
    const Json json = Json::parse(text);
    if (!json.is_object()) corrupt("no JSON object");
    if (json.at("schema").get<int>() != kManifestSchema) {
      corrupt("schema: expected " + std::to_string(kManifestSchema) + ", found " + json.at("schema").dump());
    }
    if (const std::string hash = hash_of(json); json.at(kOwnHash) != hash) {
      corrupt(std::string(kOwnHash) + ": expected " + hash + ", found " + json.at(kOwnHash).dump());
    }
    manifest.step = json.at("step").get<int64_t>();
    manifest.cursor = {.epoch = json.at("cursor").at("epoch").get<int64_t>(),
                       .step = json.at("cursor").at("step").get<int64_t>()};
    manifest.seed = json.at("seed").get<uint64_t>();
    manifest.world_size = json.at("world_size").get<int>();
    manifest.recipe = json.at("recipe").get<std::string>();
    manifest.config = json.at("config").get<std::map<std::string, std::string>>();
    manifest.facts = json.at("facts").get<std::map<std::string, std::string>>();
    manifest.aliases = json.at("aliases").get<std::map<std::string, std::string>>();
    // A checkpoint of an earlier Rondo has none of these.
    manifest.written = json.value("written", int64_t{0});
    manifest.parts = json.value("parts", std::map<std::string, int>());
    const Json metrics = json.value("metrics", Json::object());
    for (const auto& [name, value] : metrics.items()) manifest.metrics[name] = metric_of(value);
    manifest.params_hash = json.at("params_hash").get<std::string>();
    for (const auto& [name, entry] : json.at("files").items()) {
      if (!plain_name(name)) corrupt("file name \"" + name + "\"");
      manifest.files[name] = {.byte_count = entry.at("bytes").get<int64_t>(),
                              .sha256 = entry.at("sha256").get<std::string>()};
    }
  } catch (const Json::exception& error) {
    corrupt(error.what());
  } catch (const std::logic_error& error) {
    corrupt(std::string("metrics: no number: ") + error.what());
  }
  return manifest;
}

std::filesystem::path write_checkpoint(const std::filesystem::path& checkpoints, Manifest manifest,
                                       const std::vector<CheckpointFile>& files) {
  std::filesystem::create_directories(checkpoints);
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints)) {
    if (entry.path().filename().string().starts_with(kTemporaryPrefix)) std::filesystem::remove_all(entry.path());
  }
  const std::filesystem::path target = checkpoints / checkpoint_name(manifest.step);
  const std::filesystem::path temporary =
      checkpoints / (kTemporaryPrefix + checkpoint_name(manifest.step) + "-" + std::to_string(::getpid()));
  try {
    std::filesystem::create_directory(temporary);
    manifest.files.clear();
    manifest.written = std::time(nullptr);
    for (const CheckpointFile& file : files) {
      manifest.files[file.name] = {.byte_count = static_cast<int64_t>(file.content.size()),
                                   .sha256 = sha256_of_bytes(file.content)};
      write_durable(temporary / file.name, file.content);
    }
    const std::string text = encode_manifest(manifest);
    write_durable(temporary / kManifestFile, std::as_bytes(std::span(text)));
    sync_folder(temporary);
    replace_folder(temporary, target);
    sync_folder(checkpoints);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove_all(temporary, ignored);
    throw;
  }
  return target;
}

Checkpoint open_checkpoint(const std::filesystem::path& folder, Scrutiny scrutiny) {
  const std::filesystem::path manifest_file = folder / kManifestFile;
  std::ifstream stream(manifest_file, std::ios::binary);
  if (!stream) throw Error("damaged checkpoint: cannot open " + manifest_file.string(), ExitCode::kCorrupt);
  const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  Checkpoint checkpoint{.folder = folder, .manifest = decode_manifest(text, manifest_file.string())};
  for (const auto& [name, expected] : checkpoint.manifest.files) {
    const std::filesystem::path file = folder / name;
    std::error_code error;
    const auto byte_count = std::filesystem::file_size(file, error);
    if (error) throw Error("damaged checkpoint: " + file.string() + " is missing", ExitCode::kCorrupt);
    if (static_cast<int64_t>(byte_count) != expected.byte_count) {
      throw Error("damaged checkpoint: " + file.string() + ": expected " + std::to_string(expected.byte_count) +
                      " bytes, found " + std::to_string(byte_count),
                  ExitCode::kCorrupt);
    }
    if (scrutiny == Scrutiny::kSizes) continue;
    if (const std::string found = sha256_of_file(file); found != expected.sha256) {
      throw Error("damaged checkpoint: " + file.string() + ": expected SHA-256 " + expected.sha256 + ", found " + found,
                  ExitCode::kCorrupt);
    }
  }
  return checkpoint;
}

std::vector<CheckpointFolder> checkpoint_folders(const std::filesystem::path& checkpoints) {
  std::vector<CheckpointFolder> folders;
  std::error_code no_folder;
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints, no_folder)) {
    if (const auto step = step_of(entry.path())) folders.push_back({.step = *step, .path = entry.path()});
  }
  std::ranges::sort(folders, std::greater<>(), &CheckpointFolder::step);
  return folders;
}

FoundCheckpoint newest_valid_checkpoint(const std::filesystem::path& checkpoints) {
  const std::vector<CheckpointFolder> candidates = checkpoint_folders(checkpoints);
  if (candidates.empty())
    throw Error("no checkpoint in " + checkpoints.string() + " yet: nothing to resume", ExitCode::kPreflight);
  std::vector<std::string> skipped;
  for (const auto& [step, folder] : candidates) {
    try {
      return {.checkpoint = open_checkpoint(folder), .skipped = skipped};
    } catch (const Error& error) {
      skipped.emplace_back(error.what());
    }
  }
  std::string all = "no valid checkpoint in " + checkpoints.string() + ":";
  for (const std::string& why : skipped) all += "\n  " + why;
  throw Error(all, ExitCode::kCorrupt);
}

}  // namespace rondo::trainer
