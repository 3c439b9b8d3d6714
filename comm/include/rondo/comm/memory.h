/// Registered memory: regions that a transport can hand to peers without copying.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "rondo/comm/status.h"

namespace rondo::comm {

/// A mapping backed by a memfd (no name in any file system, so nothing to leak), zeroed and touched by the allocating
/// thread. Movable; unmaps on destruction. The descriptor can be passed to processes of the same job.
class Region {
 public:
  Region() = default;
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  /// kResource when memory or descriptors are short, with need, free and limit.
  static Result<Region> allocate(size_t byte_count, const std::string& purpose);
  /// Maps a region that another process allocated; takes the descriptor over.
  static Result<Region> adopt(int descriptor, size_t byte_count);

  std::span<std::byte> bytes() const { return {data_, byte_count_}; }
  bool empty() const { return data_ == nullptr; }
  int descriptor() const { return descriptor_; }

 private:
  std::byte* data_ = nullptr;
  size_t byte_count_ = 0;
  int descriptor_ = -1;
};

}  // namespace rondo::comm
