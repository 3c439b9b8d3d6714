/// Registered memory of groups that ended by an error, kept until nobody can reach it.
///
/// Note [Quarantine]: an error does not end a peer's access. A peer that has not heard of it yet, or is stopped, may
/// still store into memory that was registered here. So such memory is not unmapped, written or handed out before every
/// other member has said in the job page that it left the group, or is proved gone; until then recovery takes fresh
/// memory. A rank says that it left after its own transport is down: then it has no way to store any more.
///
/// Threading: internally locked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/watch/job_page.h"
#include "rondo/comm/memory.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {

class Quarantine {
 public:
  /// Keeps `region`, which `others` (ranks of the job) could reach through `group`.
  struct Kept {
    Region region;
    uint64_t group = 0;
    std::vector<int> others;
  };
  void keep(Kept kept) RONDO_EXCLUDES(mutex_);

  /// A kept region of just this size that nobody can reach any more, zeroed; else empty. One that still has a handle
  /// elsewhere in this process is not given.
  Region take(size_t byte_count, const JobPage& page) RONDO_EXCLUDES(mutex_);

  /// Lets go of everything, because memory is short: what is unmapped is not handed out again by this process.
  void drop() RONDO_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::vector<Kept> kept_ RONDO_GUARDED_BY(mutex_);
};

}  // namespace rondo::comm
