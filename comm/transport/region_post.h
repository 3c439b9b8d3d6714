/// How a rank hands memory to another rank of its host: the memory's descriptor goes into the other's mailbox.
///
/// A mailbox is an abstract Unix socket with a random name. Posting connects, sends one note with the descriptor and
/// hangs up, so nobody waits for anybody; the owner empties its mailbox when it misses something. Both ends check the
/// other's user id. That a region could be taken proves that the two ranks share a kernel, a network namespace and
/// memory: locality is shown, never guessed. Nothing blocks. Threading: internally locked; shared by the groups of an
/// endpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "rondo/comm/memory.h"
#include "rondo/comm/secret.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

class InprocFabric;

/// Which region of whom.
struct RegionLabel {
  uint64_t group = 0;
  int from = -1;  // rank in the job
  uint64_t id = 0;
  auto operator<=>(const RegionLabel&) const = default;
};

class RegionPost {
 public:
  virtual ~RegionPost() = default;
  /// What the other ranks post to; goes to them through the store.
  virtual std::string mailbox() const = 0;
  /// Puts `region` into the mailbox of rank `to`. kPending: it is full, try again later; kPeerLost: nobody is there.
  virtual Status post(const std::string& mailbox, int to, const RegionLabel& label, const Region& region) = 0;
  /// The region under `label`, once. Empty: not here yet. kCorrupt, kResource, kIo when it cannot be mapped.
  virtual Result<std::optional<Region>> take(const RegionLabel& label) = 0;
  /// Drops what came for a group that is gone.
  virtual void forget(uint64_t group) = 0;
};

struct RegionPostOptions {
  int rank = 0;
  JobId job;
  uint32_t generation = 0;
};
/// Between processes (or threads that want mappings of their own).
Result<std::shared_ptr<RegionPost>> open_region_post(const RegionPostOptions& options);
/// Between threads of one process: all have handles to one mapping, and a thread sanitizer sees both sides.
std::shared_ptr<RegionPost> region_post_of(std::shared_ptr<InprocFabric> fabric, int rank);

}  // namespace rondo::comm
