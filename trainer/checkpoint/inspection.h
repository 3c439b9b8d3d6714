/// What people ask about checkpoints: which there are, what is in one, whether all bytes are right. No LibTorch here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/safetensors.h"

namespace rondo::trainer {

struct CheckpointStatus {
  std::filesystem::path folder;
  Manifest manifest;       // of a damaged one perhaps empty
  int64_t byte_count = 0;  // of its files
  bool best = false;       // the link `best` points to it
  std::string problem;     // empty: as the manifest says
};
CheckpointStatus inspect_checkpoint(const std::filesystem::path& folder, Scrutiny scrutiny);
/// All of a folder of checkpoints, newest first. Throws rondo::Error, kPreflight, when there is none.
std::vector<CheckpointStatus> inspect_checkpoints(const std::filesystem::path& checkpoints, Scrutiny scrutiny);

/// Tables for people, JSON for programs, with a newline at the end.
std::string list_text(const std::vector<CheckpointStatus>& all);
std::string list_json(const std::vector<CheckpointStatus>& all);

struct CheckpointContent {
  Checkpoint checkpoint;
  std::map<std::string, SafetensorsHeader> files;
};
/// Sizes are compared with the manifest, tensors are not read. Throws rondo::Error, kCorrupt, naming the file.
CheckpointContent read_content(const std::filesystem::path& folder);
std::string content_text(const CheckpointContent& content);
std::string content_json(const CheckpointContent& content);

/// "1.7 MB", "832 bytes".
std::string bytes_text(int64_t byte_count);

}  // namespace rondo::trainer
