/// Starts one worker: posix_spawn of the exec shim, in a new process group, with exactly the descriptors it is to have.
///
/// Also while gRPC runs in this process (terminals, other hosts), whose threads no fork would survive: posix_spawn of
/// glibc is clone(CLONE_VM | CLONE_VFORK), which calls no handlers of fork, and the child does nothing but the listed
/// actions and execve.
///
/// Threading: main thread only. The kernel sends the death signal when the *thread* that spawned ends, and other
/// threads of the launcher end before it does.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {

/// What a worker finds open. Numbers 0 to 6; everything else is closed.
struct WorkerDescriptors {
  int input = -1;  // 0; -1: /dev/null
  int output = -1, errors = -1, secret = -1, control = -1, messages = -1, flight = -1;
};

struct SpawnRequest {
  std::string shim;                      // path of rondo-exec
  std::string program;                   // resolved path
  std::vector<std::string> arguments;    // argv, the program's name first
  std::vector<std::string> environment;  // "NAME=value"
  std::vector<int> cpus;                 // empty: as the launcher's
  WorkerDescriptors descriptors;
  sigset_t signal_mask;  // the mask the launcher itself was started with
};

/// The worker's process id, which is its process group's, too.
comm::Result<pid_t> spawn(const SpawnRequest& request);

}  // namespace rondo::launcher
