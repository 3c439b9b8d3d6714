/// The signals that the launcher understands, as events of the loop instead of interruptions:
///
///   those that stop a run   INT, TERM, HUP, QUIT, unless --signals-to-handle names others
///   USR1                    the ranks save a checkpoint now
///   USR2                    stacks and flight records of all ranks; from `rondo explain`: the records alone
///   TSTP, CONT              Ctrl-Z and fg: the ranks stop and go on with the launcher
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
  /// Blocks `stopping` (without HUP when it is ignored: nohup) and the others (without TSTP when it is ignored: a shell
  /// without job control); ignores PIPE. For the rest of the process's life. Signals that are in neither keep their
  /// meaning.
  comm::Status open(const std::vector<int>& stopping);
  int handle() const { return descriptor_.get(); }

  struct Came {
    int signal = 0;           // 0: none
    bool by_program = false;  // queued with a value: by another `rondo`
  };
  /// Whether `signal` is one that stops a run.
  static bool stops(int signal);
  /// The next that came.
  Came next();
  const sigset_t& mask_before() const { return before_; }

 private:
  Descriptor descriptor_;
  sigset_t before_{};
};

}  // namespace rondo::launcher
