#include "launcher/coordinator/job.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <nlohmann/json.hpp>

#include "launcher/agent/deliver_output.h"
#include "launcher/agent/host_agent.h"
#include "launcher/agent/signals.h"
#include "launcher/agent/topology.h"
#include "launcher/base/exit_codes.h"
#include "launcher/coordinator/coordinator.h"
#include "launcher/coordinator/find_doors.h"
#include "launcher/coordinator/gathering.h"
#include "launcher/coordinator/terminals.h"
#include "launcher/remote/attend_job.h"
#include "launcher/remote/endpoint.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;

constexpr std::chrono::seconds kGoodbyeFor{2};
constexpr size_t kOwnIndex = 0;  // of this host, among the job's

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

/// `host`: whose launcher got it.
void take_signal(size_t host, Signals::Came came, Coordinator& coordinator) {
  switch (came.signal) {
    case 0:
      return;
    case SIGUSR1:
      return coordinator.on_checkpoint_request();
    case SIGUSR2:
      return came.by_program ? coordinator.on_flight_request() : coordinator.on_stacks_request();
    case SIGTSTP:
      return coordinator.on_suspend(host);
    case SIGCONT:
      return coordinator.on_resume(host);
    default:
      if (came.signal > 0 && came.signal < NSIG) coordinator.on_stop_signal(came.signal);
  }
}

/// On the coordinator's host: what a job is made of, in the order in which it comes about.
class Job {
 public:
  Job(const JobRequest& request, std::string host, Signals& signals, EventLoop& loop)
      : request_(request), host_(std::move(host)), signals_(signals), loop_(loop), terminals_(request) {}
  ~Job() { terminals_.close(); }  // before what it shows goes
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Other hosts come to `door`.
  comm::Status open_door(const comm::Address& door, const comm::Secret& secret) {
    auto authority = Authority::of(secret);
    RONDO_TRY(authority);
    secret_ = secret;
    store_ = with_port(door, 0);
    auto attendance = Attendance::open({.door = door,
                                        .authority = *std::move(authority),
                                        .host = host_,
                                        .further = terminals_.service(),
                                        .on_refused = [this](const comm::Status& why) {
                                          if (recording_) events_.write("agent_refused", {{"text", why.text()}});
                                        }});
    RONDO_TRY(attendance);
    attendance_ = std::move(*attendance);
    return {};
  }

  comm::Result<int> run() {
    RONDO_TRY(open_folder());
    std::vector<Rendezvous::Member> members{
        {.attendee = {.id = kOwnHost, .node_rank = 0, .ranks = request_.ranks, .host = host_},
         .place = expected_place(request_)}};
    if (attendance_) {
      auto gathered = gather_hosts(request_, host_, *attendance_, loop_, signals_, console_, events_, terminals_);
      RONDO_TRY(gathered);
      if (gathered->members.empty()) return end(gathered->exit_code, {});
      members = std::move(gathered->members);
    }
    if (const comm::Status ready = set_up(members); !ready.ok()) {
      for (size_t i = 1; i < members.size(); ++i)
        attendance_->send(members[i].attendee.id, finish_message(exit_code_of(ready), ready.message()));
      if (attendance_) attendance_->close({Clock::now() + kGoodbyeFor});
      return ready;
    }
    coordinator_->start();
    while (true) {
      if (!coordinator_->start_error().ok()) return end_unstarted();
      const TimePoint now = Clock::now();
      if (coordinator_->finished(now)) {
        if (const auto code = coordinator_->conclude_generation()) return end(*code, {});
        continue;
      }
      turn(now);
    }
  }

 private:
  struct RemoteHost {
    int id = 0;
    size_t index = 0;  // among the hosts of the job
    RankRange ranks;
    std::unique_ptr<RemoteAgent> agent;
  };

  comm::Status open_folder() {
    auto folder = RunFolder::create(request_.folder);
    RONDO_TRY(folder);
    folder_.emplace(*std::move(folder));
    RONDO_TRY(events_.open(folder_->file("events.jsonl")));
    recording_ = true;
    terminals_.open(*folder_, attendance_.get(), loop_, events_);
    return {};
  }

  comm::Status set_up(const std::vector<Rendezvous::Member>& members) {
    auto meeting = MeetingPoint::open(
        {.master = request_.master, .secret = secret_, .store = store_, .on_refused = [this](const comm::Status& why) {
           events_.write("store_refused", {{"text", why.text()}});
         }});
    RONDO_TRY(meeting);
    meeting_.emplace(*std::move(meeting));
    const HostPlace& own = members.front().place;
    JobFacts facts{.host = own,
                   .generation = 0,
                   .master = {.address = request_.master.address, .port = meeting_->master_port()},
                   .store = meeting_->store_address(),
                   .job = meeting_->job(),
                   .run_directory = folder_->path()};
    HostAgent::Setting setting{.plan = plan_ranks(request_, own, read_cpus()),
                               .facts = facts,
                               .secret_bytes = meeting_->secret_bytes(),
                               .signal_mask = signals_.mask_before()};
    const int threads = setting.plan[0].share.threads;
    if (request_.announce)
      request_.announce({.ranks = own.world_size, .threads = threads, .run_folder = folder_->shown_path()});
    events_.write("start", {{"program", request_.program},
                            {"ranks", own.world_size},
                            {"hosts", own.nodes},
                            {"threads", threads},
                            {"host", host_},
                            {"pid", ::getpid()},
                            {"job", meeting_->job()}});
    std::vector<Coordinator::Host> hosts;
    DisplayOptions display = request_.display;
    display.hidden.clear();
    for (const auto& member : members) {
      hosts.push_back({.name = member.attendee.host, .ranks = member.attendee.ranks});
      display.hidden.merge(display_of_host(request_.display, member.place, member.attendee.ranks).hidden);
    }
    coordinator_.emplace(request_, console_, std::move(display), events_, *folder_, terminals_.overview(), hosts);
    terminals_.attend(*coordinator_);
    agent_.emplace(request_, loop_, *folder_, *coordinator_, std::move(setting));
    std::vector<AgentOrders*> agents{&*agent_};
    for (size_t i = 1; i < members.size(); ++i) {
      const auto& member = members[i];
      welcome(member, members, facts);
      remote_.push_back({.id = member.attendee.id,
                         .index = i,
                         .ranks = {.first = member.place.first_rank, .count = member.attendee.ranks},
                         .agent = std::make_unique<RemoteAgent>(*attendance_, member.attendee.id)});
      agents.push_back(remote_.back().agent.get());
    }
    coordinator_->attend(std::move(agents));
    if (attendance_) RONDO_TRY(loop_.watch(attendance_->handle(), [] {}));
    return loop_.watch(signals_.handle(), [this] { take_signal(kOwnIndex, signals_.next(), *coordinator_); });
  }

  void welcome(const Rendezvous::Member& member, const std::vector<Rendezvous::Member>& members,
               const JobFacts& facts) {
    control::CoordinatorSays says;
    control::Place& place = *says.mutable_place();
    place.set_node_rank(member.place.node_rank);
    place.set_first_rank(member.place.first_rank);
    place.set_world_size(member.place.world_size);
    for (const auto& each : members) place.add_ranks_of_nodes(each.attendee.ranks);
    place.set_job(facts.job);
    place.set_store(facts.store);
    place.set_master_address(facts.master.address);
    place.set_master_port(facts.master.port);
    place.set_run_folder(folder_->name());
    attendance_->send(member.attendee.id, std::move(says));
  }

  void turn(TimePoint now) {
    TimePoint next = now + std::chrono::minutes(1);
    const auto consider = [&](const std::optional<TimePoint>& moment) {
      if (moment) next = std::min(next, *moment);
    };
    consider(agent_->next_moment());
    consider(coordinator_->next_moment(now));
    if (attendance_) consider(attendance_->next_moment());
    consider(terminals_.next_moment());
    loop_.turn(next - now);
    now = Clock::now();
    if (attendance_ && coordinator_->suspended()) attendance_->excuse_silence(now);  // agents do not beat then
    if (attendance_) attendance_->handle_messages(handlers(now), now);
    agent_->on_time(now);
    coordinator_->on_time(now);
    terminals_.on_time(now);
    if (coordinator_->may_stop(kOwnIndex)) stand_still();
  }

  void stand_still() {
    ::kill(::getpid(), SIGSTOP);  // as TSTP would have done; returns when somebody says CONT
    if (attendance_) attendance_->excuse_silence(Clock::now());
    coordinator_->on_resume(kOwnIndex);
  }

  Attendance::Handlers handlers(TimePoint now) {
    const auto host_of = [this](int id) {
      return std::ranges::find_if(remote_, [id](const RemoteHost& host) { return host.id == id; });
    };
    return {.on_hello =
                [this, host_of](int id, const control::AgentHello& hello) {
                  if (host_of(id) != remote_.end()) return;  // it is here already
                  events_.write("host", {{"host", hello.host()}, {"refused", "comes too late"}});
                  attendance_->send(id, finish_message(kExitRendezvous, "the job has begun without this host"));
                  attendance_->dismiss(id);
                },
            .on_said =
                [this, now, host_of](int id, const control::AgentSays& says) {
                  const auto host = host_of(id);
                  if (host == remote_.end()) return;
                  if (says.has_signal_came())
                    return take_signal(
                        host->index,
                        {.signal = says.signal_came().signal(), .by_program = says.signal_came().by_program()},
                        *coordinator_);
                  if (says.has_ranks_suspended()) return coordinator_->stands_still(host->index);
                  tell_events(says, host->ranks, *coordinator_, now);
                },
            .on_lost =
                [this, host_of](int id, const std::string& why) {
                  const auto host = host_of(id);
                  if (host != remote_.end()) coordinator_->host_lost(host->index, why);
                },
            .hold = [this] { return console_.congested() && !coordinator_->stopped(); }};
  }

  comm::Result<int> end_unstarted() {
    const comm::Status why = coordinator_->start_error();
    terminals_.close();
    agent_->stop(SIGKILL);
    for (const RemoteHost& host : remote_) host.agent->stop(SIGKILL);
    events_.write("end", {{"error", why.text()}});
    dismiss_hosts(exit_code_of(why), why.message());
    return why;
  }

  int end(int code, const std::string& cause) {
    terminals_.close();
    dismiss_hosts(code, cause);
    deliver_output(console_, signals_);
    if (meeting_) meeting_->close();
    events_.write("end", {{"exit_code", code}});
    return code;
  }

  void dismiss_hosts(int code, const std::string& cause) {
    if (!attendance_) return;
    for (const RemoteHost& host : remote_) attendance_->send(host.id, finish_message(code, cause));
    attendance_->close({Clock::now() + kGoodbyeFor});
  }

  const JobRequest& request_;
  const std::string host_;
  Signals& signals_;
  EventLoop& loop_;
  comm::Secret secret_;
  comm::Address store_{"tcp:127.0.0.1:0"};
  Console console_;
  EventLog events_;
  std::atomic<bool> recording_{false};  // the door's thread may write events
  std::optional<RunFolder> folder_;
  std::optional<MeetingPoint> meeting_;
  Terminals terminals_;
  std::unique_ptr<Attendance> attendance_;
  std::optional<Coordinator> coordinator_;
  std::optional<HostAgent> agent_;
  std::vector<RemoteHost> remote_;
};

/// Several hosts: whoever is named as the meeting point coordinates, the others attend.
comm::Result<int> run_over_hosts(const JobRequest& request, const std::string& host, Signals& signals,
                                 EventLoop& loop) {
  const JobRequest::Hosts& hosts = *request.hosts;
  const auto secret = comm::Secret::read_file(hosts.secret_file);
  RONDO_TRY(secret);
  const auto doors = find_doors(hosts, loop, signals);
  RONDO_TRY(doors);
  if (doors->addresses.empty()) return doors->exit_code;
  const comm::Address own = own_address(doors->addresses);
  if (hosts.node_rank == 0 && own.text.empty()) {
    return comm::Status(comm::Code::kInvalidArgument,
                        "--rdzv-endpoint " + hosts.address +
                            " is no address of this host, and node rank 0 is where hosts meet; name an address of it");
  }
  if (!own.text.empty() && hosts.node_rank.value_or(0) == 0) {
    JobRequest first = request;
    first.hosts->node_rank = 0;
    Job job(first, host, signals, loop);
    const auto opened = job.open_door(own, *secret);
    if (opened.ok()) return job.run();
    // Another agent of this host may be there already, and coordinate.
    if (hosts.node_rank || opened.code() == comm::Code::kInvalidArgument) return opened;
  }
  const auto authority = Authority::of(*secret);
  RONDO_TRY(authority);
  return attend_job(request, signals, loop,
                    {.host = host, .doors = doors->addresses, .authority = &*authority, .secret = *secret});
}

}  // namespace

comm::Result<int> run_job(const JobRequest& request) {
  const std::string host = host_name();
  Signals signals;
  RONDO_TRY(signals.open(request.stop_signals));
  EventLoop loop;
  RONDO_TRY(loop.open());
  if (request.hosts) return run_over_hosts(request, host, signals, loop);
  return Job(request, host, signals, loop).run();
}

}  // namespace rondo::launcher
