/// A terminal's side of its call to a run: one connection to the run's door, as its user.
///
/// Threading: one thread. gRPC has threads of its own from open() on: no process may be forked then (posix_spawn is
/// none).
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "launcher/control/run_door.h"
#include "proto/control.pb.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

class RunCall {
 public:
  static constexpr std::chrono::seconds kAnswerWithin{5};  // a launcher that is not stopped

  /// kPeerLost: nobody is there any more. kUnauthenticated: somebody else's process is.
  static comm::Result<std::unique_ptr<RunCall>> open(const RunDoor& door);
  virtual ~RunCall() = default;

  /// kTimeout: the launcher does not answer; kPeerLost: the run has just ended.
  virtual comm::Result<control::RunDescription> describe(comm::Deadline deadline) = 0;
  virtual comm::Result<control::StopAnswer> stop(int signal, comm::Deadline deadline) = 0;

  /// Both end with the run, or when `take` wants no more: ok. kPeerLost: the launcher was killed.
  enum class More : uint8_t { kYes, kNo };
  virtual comm::Status logs(const control::LogsRequest& request,
                            const std::function<More(const control::LogsSays&)>& take) = 0;
  virtual comm::Status watch(const std::function<More(const control::RunDescription&)>& take) = 0;
};

}  // namespace rondo::launcher
