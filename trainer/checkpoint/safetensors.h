/// Safetensors: named tensors in one file that Python, Rust and we read without running any code from it.
///
/// Layout: 8 bytes little-endian length of the header; the header, JSON, padded with spaces so that the data begin at a
/// multiple of 8; the tensors' bytes, little-endian, row-major, without gaps. No LibTorch here: bytes in, bytes out.
/// Source: https://github.com/huggingface/safetensors, "Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace rondo::trainer {

/// "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL": bytes of one element; 0 for an unknown name.
int64_t safetensors_width(const std::string& dtype);

/// One tensor; `bytes` are borrowed.
struct TensorRecord {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

/// The file's content: header and data. Wider types come first, so that every tensor is aligned to its own width.
std::vector<std::byte> encode_safetensors(std::vector<TensorRecord> tensors,
                                          const std::map<std::string, std::string>& metadata);

/// What a file says about itself: its tensors, without their bytes.
struct SafetensorsHeader {
  std::vector<TensorRecord> tensors;  // in the order of the data
  std::map<std::string, std::string> metadata;
};
/// Reads the beginning of the file alone; complains as SafetensorsFile::read.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& file);

/// A file in memory; the tensors point into it, so it is neither copied nor resized.
class SafetensorsFile {
 public:
  /// Throws rondo::Error, kCorrupt, naming the file, what, expected and found. Refused: a header above 16 MiB or longer
  /// than the file, anything but the specified fields, duplicate names, unknown types, a shape that does not fit its
  /// range (overflow included), overlaps, holes and trailing bytes.
  static SafetensorsFile read(const std::filesystem::path& file);
  /// As read(), from memory; `name` stands for the file in errors.
  static SafetensorsFile parse(std::vector<std::byte> content, const std::string& name);

  SafetensorsFile(SafetensorsFile&&) noexcept = default;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept = default;

  /// In the order of the data.
  const std::vector<TensorRecord>& tensors() const { return tensors_; }
  /// Null when there is none of that name.
  const TensorRecord* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile() = default;
  std::vector<std::byte> content_;
  std::vector<TensorRecord> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace rondo::trainer
