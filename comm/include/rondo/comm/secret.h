/// The secret of a job: 256 bits that every rank holds and no one else. It is never in argv, environment, logs or
/// dumps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

using Digest = std::array<std::byte, 32>;

class Secret {
 public:
  /// All zero: no secret. Such a secret authenticates nothing and is refused by every handshake.
  Secret() = default;
  explicit Secret(const Digest& bytes) : bytes_(bytes) {}
  ~Secret();
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;

  static Secret draw(Env& env);
  /// Reads 32 raw bytes from an inherited descriptor until end of file, then closes it. The writer is the launcher.
  static Result<Secret> read_descriptor(int descriptor);
  /// Reads 64 hexadecimal digits from a file that only its owner may read (mode 0600 or 0400).
  static Result<Secret> read_file(const std::string& path);

  bool empty() const;
  std::span<const std::byte, 32> bytes() const { return bytes_; }

 private:
  Digest bytes_{};
};

/// HMAC-SHA256 (RFC 2104, FIPS 180-4; by OpenSSL) over the concatenation of `parts`.
Digest hmac_sha256(const Secret& key, std::span<const std::span<const std::byte>> parts);
/// Compares in constant time.
bool equal_digests(const Digest& a, const Digest& b);

/// 128 random bits that name one job on this machine and in every handshake; public. Text form: 32 hexadecimal digits.
struct JobId {
  std::array<std::byte, 16> bytes{};
  bool operator==(const JobId&) const = default;
  static JobId draw(Env& env);
  static Result<JobId> parse(const std::string& hex);
  std::string hex() const;
};

}  // namespace rondo::comm
