/// Registered memory: regions that a transport can hand to peers without copying.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "rondo/comm/status.h"

namespace rondo::comm {

/// A mapping backed by a memfd (no name in any file system, so nothing to leak), zeroed and touched by the allocating
/// thread. Movable; the memory is unmapped with the last handle to it. The descriptor can be passed to processes of the
/// same job.
class Region {
 public:
  Region() = default;

  /// kResource when memory or descriptors are short, with need, free and limit.
  static Result<Region> allocate(size_t byte_count, const std::string& purpose);
  /// Maps a region that another process allocated; takes the descriptor over.
  static Result<Region> adopt(int descriptor, size_t byte_count);

  /// Another handle to the same mapping.
  Region share() const { return Region(mapping_); }
  /// No other handle to the mapping exists in this process, and what was done through those that did has been seen.
  bool sole() const;

  /// Tells whether a mapping is still there without keeping it.
  class Life;
  Life life() const;

  std::span<std::byte> bytes() const;
  bool empty() const { return mapping_ == nullptr; }
  int descriptor() const;

 private:
  class Mapping;
  explicit Region(std::shared_ptr<const Mapping> mapping) : mapping_(std::move(mapping)) {}
  std::shared_ptr<const Mapping> mapping_;  // shared by all handles; null for 0 bytes
};

class Region::Life {
 public:
  Life() = default;
  /// The last handle of this process is gone.
  bool expired() const { return mapping_.expired(); }
  /// A handle, empty when expired.
  Region region() const { return Region(mapping_.lock()); }

 private:
  friend class Region;
  explicit Life(std::weak_ptr<const Mapping> mapping) : mapping_(std::move(mapping)) {}
  std::weak_ptr<const Mapping> mapping_;
};

}  // namespace rondo::comm
