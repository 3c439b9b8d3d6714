/// Page-aligned anonymous memory with huge pages where the kernel has them: what contenders without registered memory
/// get, so that none loses by where its buffer lies.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "rondo/comm/status.h"

namespace rondo::bench {

class OrdinaryMemory {
 public:
  OrdinaryMemory() = default;
  OrdinaryMemory(OrdinaryMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  OrdinaryMemory& operator=(OrdinaryMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~OrdinaryMemory();

  /// Zeroed and touched by the calling thread.
  static comm::Result<OrdinaryMemory> allocate(size_t byte_count);
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace rondo::bench
