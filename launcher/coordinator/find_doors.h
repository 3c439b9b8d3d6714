/// The first look for the place where hosts meet: its name becomes addresses.
#pragma once

#include <vector>

#include "launcher/agent/event_loop.h"
#include "launcher/agent/job_request.h"
#include "launcher/agent/signals.h"

namespace rondo::launcher {

struct Doors {
  std::vector<comm::Address> addresses;  // empty: the name led nowhere in time, or a signal ended the wait
  int exit_code = 0;                     // then
};
/// Looks a name up that leads nowhere yet again and again, until the join timeout, and says so once. Where the name
/// leads to loopback on this host, and others would not come there, its address towards them is taken, and that is
/// said; RONDO_INTERFACE chooses. A signal counts between two look-ups: one by itself is left to the system's resolver.
/// kInvalidArgument: the name will never do, and what to write instead.
comm::Result<Doors> find_doors(const JobRequest::Hosts& hosts, EventLoop& loop, Signals& signals);

}  // namespace rondo::launcher
