/// A checkpoint on disk: a folder `step-00001407` of files and a manifest that vouches for each of them.
///
/// Written so that a crash at any moment leaves either the whole checkpoint or none: into a temporary folder, every
/// file synchronised, then renamed. Read so that no damaged byte gets through: sizes and SHA-256 of all files, and of
/// the manifest itself. One process writes; any number may read at the same time. No LibTorch here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trainer/data/sample_order.h"

namespace rondo::trainer {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr int kManifestSchema = 1;

struct Manifest {
  int64_t step = 0;  // optimizer updates done
  Cursor cursor;     // the next step to take
  uint64_t seed = 0;
  int world_size = 1;
  int64_t written = 0;                         // seconds since 1970; 0: not known. Set by write_checkpoint
  std::string recipe;                          // dotted name; empty for an own program
  std::map<std::string, std::string> config;   // every key of the recipe, or what an own program gave
  std::map<std::string, double> metrics;       // what an own program gave
  std::map<std::string, std::string> facts;    // what else is needed to use the model, e.g. pixel_mean
  std::map<std::string, std::string> aliases;  // tied weights: name -> the name under which they are stored
  std::map<std::string, int> parts;            // further state: name -> files, one for each rank; 0: one for all
  std::string params_hash;
  struct File {
    int64_t byte_count = 0;
    std::string sha256;
    bool operator==(const File&) const = default;
  };
  std::map<std::string, File> files;  // filled by write_checkpoint
};

/// The text of manifest.json, its own hash included.
std::string encode_manifest(const Manifest& manifest);
/// Throws rondo::Error, kCorrupt, naming `file`.
Manifest decode_manifest(const std::string& text, const std::string& file);

struct CheckpointFile {
  std::string name;
  std::vector<std::byte> content;
};

/// Writes `checkpoints/step-XXXXXXXX` and returns it; replaces one of the same step. Temporary folders that a crash
/// left there are removed. Throws rondo::Error when the disk refuses; then the folder is as it was.
std::filesystem::path write_checkpoint(const std::filesystem::path& checkpoints, Manifest manifest,
                                       const std::vector<CheckpointFile>& files);

struct Checkpoint {
  std::filesystem::path folder;
  Manifest manifest;
};

/// How closely files are compared with the manifest: their sizes, or every byte.
enum class Scrutiny : uint8_t { kSizes, kHashes };
/// Reads the manifest and verifies every file. Throws rondo::Error, kCorrupt, naming the file and what is wrong.
Checkpoint open_checkpoint(const std::filesystem::path& folder, Scrutiny scrutiny = Scrutiny::kHashes);

struct CheckpointFolder {
  int64_t step = 0;
  std::filesystem::path path;
};
/// The folders step-... of `checkpoints`, valid or not, the highest step first. Empty when there is no such folder.
std::vector<CheckpointFolder> checkpoint_folders(const std::filesystem::path& checkpoints);

struct FoundCheckpoint {
  Checkpoint checkpoint;
  std::vector<std::string> skipped;  // newer ones that are damaged: which, and why
};

/// The one with the highest step that is whole. Throws rondo::Error: kPreflight when there is none at all, kCorrupt
/// when all are damaged.
FoundCheckpoint newest_valid_checkpoint(const std::filesystem::path& checkpoints);

/// "step-00001407".
std::string checkpoint_name(int64_t step);

/// What begins with this in a folder of checkpoints is not finished, or on its way out.
inline constexpr const char* kTemporaryPrefix = ".tmp-";

}  // namespace rondo::trainer
