/// Where ranks tell a benchmark when their first instruction ran: rondo-start-probe, over a datagram socket.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "launcher/base/descriptor.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

/// Main thread only.
class FirstInstructions {
 public:
  static comm::Result<FirstInstructions> open();

  /// What the probe takes as its argument.
  const std::string& name() const { return name_; }

  struct Rank {
    pid_t pid = -1;  // as the kernel says
    comm::TimePoint at;
  };
  /// Waits for all `ranks` of `generation`. kTimeout names those that are missing; kClosed when `launcher` (readable
  /// when it ended) is gone before.
  comm::Result<std::map<int, Rank>> wait(int generation, int ranks, const Descriptor& launcher,
                                         comm::Deadline deadline);

 private:
  FirstInstructions() = default;
  /// False when nothing is there.
  comm::Result<bool> receive();

  Descriptor socket_;
  std::string name_;
  std::map<int, std::map<int, Rank>> seen_;  // by generation, then rank
};

}  // namespace rondo::launcher
