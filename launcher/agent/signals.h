/// INT, TERM, HUP and USR1 as events of the loop instead of interruptions. USR1 is `rondo explain` asking for the
/// flight records.
///
/// Made before any other thread starts, so that every thread has them blocked; the mask from before goes to the
/// workers.
#pragma once

#include <signal.h>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {

class Signals {
 public:
  /// Blocks INT, TERM and USR1, and HUP unless it is ignored (nohup); ignores PIPE. For the rest of the process's life.
  comm::Status open();
  int handle() const { return descriptor_.get(); }
  /// The next signal that came, or 0.
  int next();
  const sigset_t& mask_before() const { return before_; }

 private:
  Descriptor descriptor_;
  sigset_t before_{};
};

}  // namespace rondo::launcher
