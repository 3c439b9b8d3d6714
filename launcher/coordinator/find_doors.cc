#include "launcher/coordinator/find_doors.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>

#include "launcher/agent/console.h"
#include "launcher/agent/deliver_output.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/remote/endpoint.h"
#include "rondo/comm/interfaces.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;

constexpr std::chrono::milliseconds kLookEvery{500};

/// This host's, as other hosts see it.
comm::Result<comm::Address> address_towards_others(const JobRequest::Hosts& hosts) {
  const auto interfaces = comm::read_interfaces();
  RONDO_TRY(interfaces);
  const char* names = std::getenv("RONDO_INTERFACE");
  const auto own = comm::choose_interfaces(*interfaces, names != nullptr ? names : "");
  // A host without one is met_instead()'s to refuse; a wrong RONDO_INTERFACE is refused here.
  if (!own.ok() && names != nullptr && *names != '\0') return own.status();
  const auto met = met_instead(hosts.address, own.ok() ? *own : std::vector<comm::Address>());
  RONDO_TRY(met);
  return with_port(*met, hosts.port);
}

}  // namespace

comm::Result<Doors> find_doors(const JobRequest::Hosts& hosts, EventLoop& loop, Signals& signals) {
  const TimePoint give_up = Clock::now() + hosts.join_timeout;
  auto found = addresses_of(hosts.address, hosts.port);
  const auto may_come = [&] { return !found.ok() && found.status().code() == comm::Code::kIo; };
  Console console;
  const auto say = [&](const std::string& text) { console.line(Channel::kErrors, "rondo: " + text); };
  std::optional<int> stopped_by;
  if (may_come()) {
    say("waiting for the name: " + found.status().message());
    RONDO_TRY(loop.watch(signals.handle(), [&] {
      const int signal = signals.next().signal;
      if (Signals::stops(signal)) stopped_by = signal;
    }));
    while (may_come() && !stopped_by && Clock::now() < give_up) {
      const TimePoint look_at = std::min(Clock::now() + kLookEvery, give_up);
      for (TimePoint now = Clock::now(); now < look_at && !stopped_by; now = Clock::now()) {
        console.flush();
        loop.turn(look_at - now);
      }
      if (!stopped_by) found = addresses_of(hosts.address, hosts.port);
    }
    loop.unwatch(signals.handle());
  }
  Doors doors;
  if (stopped_by) {
    say("stopped by signal " + signal_text(*stopped_by) + " before " + hosts.address + " led anywhere");
    doors.exit_code = kExitSignalBase + *stopped_by;
  } else if (may_come()) {
    say("after " + std::to_string(hosts.join_timeout.count()) + " s " + found.status().message() +
        ". Is the name spelled right, and does this host's DNS or /etc/hosts know it?");
    doors.exit_code = kExitRendezvous;
  } else {
    RONDO_TRY(found);
    doors.addresses = *std::move(found);
    if (leads_home(hosts.address, doors.addresses)) {
      const auto instead = address_towards_others(hosts);
      RONDO_TRY(instead);
      say(hosts.address + " leads to loopback on this host (Debian writes 127.0.1.1 into /etc/hosts), where no other " +
          "host could come: they meet at " + instead->text.substr(4) + " instead");
      doors.addresses = {*instead};
    }
  }
  deliver_output(console, signals);
  return doors;
}

}  // namespace rondo::launcher
