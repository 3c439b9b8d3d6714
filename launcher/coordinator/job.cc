#include "launcher/coordinator/job.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "launcher/agent/host_agent.h"
#include "launcher/agent/signals.h"
#include "launcher/agent/topology.h"
#include "launcher/coordinator/coordinator.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;
using std::chrono::milliseconds;

constexpr milliseconds kDeliverRetry{5};

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

/// Waits for the readers of our output as any program does; a signal ends that.
void deliver_output(Console& console, Signals& signals) {
  const auto stopped = [&] {
    const int signal = signals.next();
    return signal != 0 && signal != SIGUSR1;
  };
  while (!console.flush() && !stopped()) {
    pollfd signal{.fd = signals.handle(), .events = POLLIN, .revents = 0};
    ::poll(&signal, 1, static_cast<int>(kDeliverRetry.count()));
  }
}

}  // namespace

comm::Result<int> run_job(const JobRequest& request) {
  const std::string host = host_name();
  Signals signals;
  RONDO_TRY(signals.open(request.stop_signals));
  EventLoop loop;
  RONDO_TRY(loop.open());
  auto folder = RunFolder::create(request.folder);
  RONDO_TRY(folder);
  EventLog events;
  RONDO_TRY(events.open(folder->file("events.jsonl")));
  auto meeting = MeetingPoint::open(request.master, [&events](const comm::Status& why) {
    events.write("store_refused", {{"text", why.text()}});
  });
  RONDO_TRY(meeting);
  HostAgent::Setting setting{.plan = plan_ranks(request, expected_place(request), read_topology()),
                             .facts = {.host = expected_place(request),
                                       .generation = 0,
                                       .master = {.address = request.master.address, .port = meeting->master_port()},
                                       .store = meeting->store_address(),
                                       .job = meeting->job(),
                                       .run_directory = folder->path()},
                             .secret_bytes = meeting->secret_bytes(),
                             .signal_mask = signals.mask_before()};
  const int threads = setting.plan[0].share.threads;
  if (request.announce)
    request.announce({.ranks = request.ranks, .threads = threads, .run_folder = folder->shown_path()});
  events.write("start", {{"program", request.program},
                         {"ranks", request.ranks},
                         {"threads", threads},
                         {"host", host},
                         {"pid", ::getpid()},
                         {"job", meeting->job()}});

  Console console;
  Coordinator coordinator(request, console, events, {{.name = host, .ranks = request.ranks}});
  HostAgent agent(request, loop, *folder, coordinator, std::move(setting));
  coordinator.attend({&agent});
  RONDO_TRY(loop.watch(signals.handle(), [&] {
    const int signal = signals.next();
    if (signal == SIGUSR1) return coordinator.on_flight_request();
    if (signal != 0) coordinator.on_stop_signal(signal);
  }));
  coordinator.start();
  std::optional<int> code;
  while (!code && coordinator.start_error().ok()) {
    const TimePoint now = Clock::now();
    if (coordinator.finished(now)) {
      code = coordinator.conclude_generation();
      continue;
    }
    TimePoint next = now + std::chrono::minutes(1);
    for (const auto& moment : {agent.next_moment(), coordinator.next_moment(now)})
      if (moment) next = std::min(next, *moment);
    loop.turn(next - now);
    agent.on_time(Clock::now());
    coordinator.on_time(Clock::now());
  }
  if (!code) {
    events.write("end", {{"error", coordinator.start_error().text()}});
    return coordinator.start_error();
  }
  deliver_output(console, signals);
  meeting->close();
  events.write("end", {{"exit_code", *code}});
  return *code;
}

}  // namespace rondo::launcher
