/// Hashes of files and of bytes, as hexadecimal text.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace rondo::trainer {

/// SHA-256 (FIPS 180-4; by OpenSSL), 64 digits: whether a file is the one that was written.
std::string sha256_of_bytes(std::span<const std::byte> bytes);
/// Throws rondo::Error (kCorrupt, naming the file) when it cannot be read.
std::string sha256_of_file(const std::filesystem::path& file);

/// XXH3, 128 bits, 32 digits: whether replicas are equal. Fast and not cryptographic.
class FastHash {
 public:
  FastHash();
  ~FastHash();
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rondo::trainer
