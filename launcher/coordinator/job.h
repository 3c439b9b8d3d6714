/// Runs a job from its request to its exit code: makes the run's folder, the coordinator and this host's agent, and
/// turns their loop.
#pragma once

#include "launcher/agent/job_request.h"

namespace rondo::launcher {

/// Runs the job to its end. The result is the exit code of `rondo`; an error means that no rank was started. The
/// calling thread must be the process's main thread (see spawn.h); beside it there is only the store's thread
/// (rondo/comm/store.h), which writes refused connections into the event log and shares nothing else.
comm::Result<int> run_job(const JobRequest& request);

}  // namespace rondo::launcher
