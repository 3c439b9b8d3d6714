/// A process-shared mutex that the kernel releases when its holder dies: the proof of life of a rank.
///
/// Lives in shared memory and is never destroyed: other processes may still look at it. Waits use the monotonic clock.
#pragma once

#include <pthread.h>

#include "rondo/comm/deadline.h"

namespace rondo::comm {

class RobustMutex {
 public:
  enum class Outcome : uint8_t {
    kTaken,       // held by the calling thread now
    kHolderDied,  // held by the calling thread now; its last holder died with it
    kHeld,        // somebody holds it; the deadline passed
    kBroken,      // the system refused
  };

  /// Once, before anyone else looks; false when the system refuses.
  bool initialise();
  Outcome lock(Deadline deadline);
  void unlock();

 private:
  pthread_mutex_t mutex_;
};

}  // namespace rondo::comm
