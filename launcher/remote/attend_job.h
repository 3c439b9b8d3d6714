/// Runs this host's part of a job whose coordinator is on another host: meets, starts the ranks that it is told to, and
/// ends when the coordinator says so, or is lost.
#pragma once

#include "launcher/agent/event_loop.h"
#include "launcher/agent/job_plan.h"
#include "launcher/agent/job_request.h"
#include "launcher/agent/signals.h"
#include "launcher/control/authority.h"

namespace rondo::launcher {

struct AttendOptions {
  std::string host;                  // this one
  std::vector<comm::Address> doors;  // the coordinator's
  const Authority* authority = nullptr;
  comm::Secret secret;  // the ranks'
};
/// The result is the exit code of `rondo`: that of the run, kExitRendezvous when hosts did not come together,
/// kExitHang when the coordinator is lost. An error: no rank was started.
comm::Result<int> attend_job(const JobRequest& request, Signals& signals, EventLoop& loop,
                             const AttendOptions& options);

/// The streams that the user wants hidden by local rank, as ranks of the job.
DisplayOptions display_of_host(const DisplayOptions& wanted, const HostPlace& host, int ranks);

}  // namespace rondo::launcher
