/// Where a job meets, by torchrun's flags: the agents of several hosts, and programs that know torchrun's rules.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/agent/job_request.h"
#include "launcher/cli/run_flags.h"

namespace CLI {
class App;
}

namespace rondo::launcher {

/// --nnodes, --node-rank, --rdzv-endpoint, --rdzv-id, --rdzv-conf and --secret-file, in this group of the help.
void add_meeting_flags(CLI::App& app, RunFlags& flags, const char* group);

/// Reads them from `typed`, among whatever else is there; RONDO_ and PET_ variables say what it does not.
comm::Result<FlagSources> read_meeting(const std::vector<std::string>& typed, RunFlags& flags);

struct Meeting {
  std::optional<JobRequest::Hosts> hosts;  // empty: this host alone
  MeetingPoint::Master master;
};
/// `notes` gets a sentence for each flag that has no effect. kInvalidArgument names the flag and what to write instead.
comm::Result<Meeting> meeting_of(const RunFlags& flags, const FlagSources& sources, std::vector<std::string>& notes);

}  // namespace rondo::launcher
