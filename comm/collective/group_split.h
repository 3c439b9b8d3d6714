/// How the ranks of a group become several groups: each says color and key to all, then computes the members of its own
/// new group from what all said. A state machine, so that many fake ranks can split in one thread.
///
/// Threading: one thread at a time. Dropped before it is done, it aborts the parent, as its Work does.
#pragma once

#include <cstdint>
#include <vector>

#include "rondo/comm/group.h"
#include "rondo/comm/work.h"

namespace rondo::comm {

class GroupSplit {
 public:
  GroupSplit(Group& parent, SplitOptions options);

  /// Lets this rank's groups go on, as Work::progress() does.
  Progress advance();
  const Status& status() const { return status_; }
  /// After kDone. Not joined() for color -1.
  Group take() { return std::move(group_); }
  /// What it waits for; done at once when the arguments were wrong.
  Work& gathering() { return gathering_; }

 private:
  Status check() const;
  Status finish();
  Where where() const;

  Group parent_;
  const SplitOptions options_;
  std::vector<int64_t> mine_;  // color and key; on the heap, as all_ is, so that a move leaves them where they are
  std::vector<int64_t> all_;   // of each rank
  Work gathering_;
  bool done_ = false;
  Status status_;
  Group group_;
};

}  // namespace rondo::comm
