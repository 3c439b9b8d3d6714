#include "launcher/coordinator/gathering.h"

#include <signal.h>

#include <nlohmann/json.hpp>
#include <set>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/control/grpc_limits.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;

constexpr std::chrono::seconds kRemindEvery{10};

/// Empty: the agent may take part.
std::string objection(const control::AgentHello& hello, const JobRequest& request) {
  if (hello.protocol() != kControlProtocol) {
    return "host " + printable(hello.host()) + " runs another version of rondo (" + printable(hello.version()) +
           "); install the same on every host";
  }
  if (hello.run_id() != request.run_id) {
    return "host " + printable(hello.host()) + " belongs to another run: its --rdzv-id is '" +
           printable(hello.run_id()) + "', here it is '" + request.run_id + "'";
  }
  if (hello.ranks() < 1 || hello.ranks() > 4096 || hello.node_rank() < -1)
    return "host " + printable(hello.host()) + " said hello in numbers that make no sense";
  return {};
}

}  // namespace

control::CoordinatorSays finish_message(int exit_code, const std::string& cause) {
  control::CoordinatorSays says;
  says.mutable_finish()->set_exit_code(exit_code);
  says.mutable_finish()->set_cause(cause);
  return says;
}

comm::Result<Gathered> gather_hosts(const JobRequest& request, const std::string& own_host, Attendance& attendance,
                                    EventLoop& loop, Signals& signals, Console& console, EventLog& events,
                                    Terminals& terminals) {
  const JobRequest::Hosts& wanted = *request.hosts;
  const TimePoint begin = Clock::now();
  Rendezvous rendezvous({.least = wanted.least,
                         .most = wanted.most,
                         .last_call = begin + wanted.last_call,
                         .join_by = begin + wanted.join_timeout});
  RONDO_TRY(
      rendezvous.admit({.id = kOwnHost, .node_rank = wanted.node_rank, .ranks = request.ranks, .host = own_host}));
  std::set<int> present;
  const auto say = [&](const std::string& text) { console.line(Channel::kErrors, "rondo: " + text); };
  const Attendance::Handlers handlers{
      .on_hello =
          [&](int id, const control::AgentHello& hello) {
            if (present.contains(id)) return;  // it is here already
            std::string why = objection(hello, request);
            const std::string host = printable(hello.host());
            if (why.empty()) {
              const auto admitted = rendezvous.admit(
                  {.id = id,
                   .node_rank = hello.node_rank() < 0 ? std::nullopt : std::optional<int>(hello.node_rank()),
                   .ranks = hello.ranks(),
                   .host = host});
              why = admitted.message();
            }
            events.write("host", {{"host", host}, {"ranks", hello.ranks()}, {"refused", why}});
            if (why.empty()) {
              present.insert(id);
              return;
            }
            say(why);
            attendance.send(id, finish_message(kExitUsage, why));
            attendance.dismiss(id);
          },
      .on_said = [](int, const control::AgentSays&) {},
      .on_lost =
          [&](int id, const std::string& why) {
            if (present.erase(id) == 0) return;
            rendezvous.withdraw(id);
            events.write("host_left", {{"why", why}});
          },
      .hold = {}};
  std::optional<int> stopped_by;
  RONDO_TRY(loop.watch(attendance.handle(), [] {}));
  RONDO_TRY(loop.watch(signals.handle(), [&] {
    const int signal = signals.next().signal;
    if (Signals::stops(signal)) stopped_by = signal;
  }));
  TimePoint remind_at = begin + kRemindEvery;
  say("waiting for hosts at " + attendance.address().text.substr(4) + ": " + rendezvous.describe());
  TimePoint now = Clock::now();
  while (!rendezvous.complete(now) && !rendezvous.expired(now) && !stopped_by) {
    console.flush();
    TimePoint next = std::min(remind_at, rendezvous.next_moment(now));
    for (const auto moment : {attendance.next_moment(), terminals.next_moment()})
      if (moment) next = std::min(next, *moment);
    loop.turn(next - now);
    now = Clock::now();
    attendance.handle_messages(handlers, now);
    terminals.on_time(now);
    if (now >= remind_at) {
      say("still waiting: " + rendezvous.describe());
      remind_at = now + kRemindEvery;
    }
  }
  loop.unwatch(attendance.handle());
  loop.unwatch(signals.handle());
  if (!stopped_by && rendezvous.complete(now)) return Gathered{.members = rendezvous.members(), .exit_code = 0};
  const std::string why =
      stopped_by ? "stopped by signal " + signal_text(*stopped_by) + " before all hosts were there"
                 : "after " + std::to_string(wanted.join_timeout.count()) +
                       " s not all hosts are there: " + rendezvous.describe() +
                       ". On the absent: was `rondo run` started, with this --rdzv-endpoint and the same secret?";
  say(why);
  const int code = stopped_by ? kExitSignalBase + *stopped_by : kExitRendezvous;
  for (const int id : present) attendance.send(id, finish_message(code, why));
  return Gathered{.members = {}, .exit_code = code};
}

}  // namespace rondo::launcher
