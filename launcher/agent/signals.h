/// The signals that stop a run, and USR1, as events of the loop instead of interruptions. USR1 is `rondo explain`
/// asking for the flight records.
///
/// Made before any other thread starts, so that every thread has them blocked; the mask from before goes to the
/// workers.
#pragma once

#include <signal.h>

#include <vector>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {

class Signals {
 public:
  /// Blocks `stopping` (without HUP when it is ignored: nohup) and USR1; ignores PIPE. For the rest of the process's
  /// life. Signals that are in neither keep their meaning.
  comm::Status open(const std::vector<int>& stopping);
  int handle() const { return descriptor_.get(); }
  /// The next signal that came, or 0.
  int next();
  const sigset_t& mask_before() const { return before_; }

 private:
  Descriptor descriptor_;
  sigset_t before_{};
};

}  // namespace rondo::launcher
