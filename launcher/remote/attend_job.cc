#include "launcher/remote/attend_job.h"

#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "launcher/agent/deliver_output.h"
#include "launcher/agent/flight_files.h"
#include "launcher/agent/host_agent.h"
#include "launcher/agent/topology.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/base/version.h"
#include "launcher/control/grpc_limits.h"
#include "launcher/remote/uplink.h"
#include "launcher/remote/words.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;
using std::chrono::seconds;

constexpr seconds kAfterDeadline{10};  // the coordinator names the absent; it is given time to
constexpr seconds kGoodbyeFor{2};
constexpr seconds kSuspendedWithin{5};  // the coordinator's answer to Ctrl-Z here
constexpr int kMostRanksOfAJob = 1 << 20;

bool is_bytes_of(const std::string& hex, size_t bytes) { return hex.size() == 2 * bytes; }

/// Shows this host's ranks here, too, and tells the coordinator all.
class Tee final : public AgentEvents {
 public:
  Tee(const std::string& host, const RunFolder& folder, Uplink& uplink, Console& console, Display& display)
      : host_(host), folder_(folder), uplink_(uplink), console_(console), display_(display) {}
  void started(int rank, pid_t pid) override { uplink_.started(rank, pid); }
  void start_failed(const comm::Status& why) override {
    console_.line(Channel::kErrors, "rondo: " + why.message());
    uplink_.start_failed({why.code(), "host " + host_ + ": " + why.message()});
  }
  void line(int rank, Channel channel, std::string_view text, TimePoint now) override {
    display_.line(rank, channel, text, now);
    uplink_.line(rank, channel, text, now);
  }
  void speaks_rondo(int rank) override { uplink_.speaks_rondo(rank); }
  void message(int rank, const proto::WorkerMessage& message) override {
    if (message.has_say()) display_.say(rank, message.say().line());
    uplink_.message(rank, message);
  }
  void ended(int rank, const RankEvidence& evidence) override { uplink_.ended(rank, evidence); }
  void output_ended(int rank, const Traces& traces) override { uplink_.output_ended(rank, traces); }
  void asked(int signal, const Asked& who) override { uplink_.asked(signal, who); }
  void stacks(int rank, const std::vector<std::string>& lines) override { uplink_.stacks(rank, lines); }
  /// Here, too: the coordinator may be lost.
  void flight(int rank, std::span<const std::byte> record) override {
    if (const comm::Status kept = keep_flight(folder_.path(), rank, record); !kept.ok())
      console_.line(Channel::kErrors, "rondo: " + kept.message());
    uplink_.flight(rank, record);
  }
  void flights_taken(const FlightsTaken& taken) override { uplink_.flights_taken(taken); }
  void shortened(const Shortened& cut) override { uplink_.shortened(cut); }
  void usage(const std::vector<RankUsage>& of_ranks) override { uplink_.usage(of_ranks); }
  void event(const char* kind, const nlohmann::json& fields) override { uplink_.event(kind, fields); }
  bool congested() const override { return console_.congested() || uplink_.congested(); }

 private:
  const std::string& host_;
  const RunFolder& folder_;
  Uplink& uplink_;
  Console& console_;
  Display& display_;
};

/// From the hello to the goodbye.
class Visit {
 public:
  Visit(const JobRequest& request, Signals& signals, EventLoop& loop, const AttendOptions& options)
      : request_(request), signals_(signals), loop_(loop), options_(options) {}

  comm::Result<int> run() {
    RONDO_TRY(open());
    while (!code_ && error_.ok()) {
      const TimePoint now = Clock::now();
      loop_.turn(next_moment(now) - now);
      on_time(Clock::now());
    }
    return close();
  }

 private:
  comm::Status open() {
    const TimePoint join_by = Clock::now() + request_.hosts->join_timeout;
    auto uplink =
        Uplink::open(*options_.authority, {.doors = options_.doors, .host = options_.host, .open_by = {join_by}});
    RONDO_TRY(uplink);
    uplink_ = std::move(*uplink);
    RONDO_TRY(loop_.watch(uplink_->handle(), [this] { on_orders(); }));
    RONDO_TRY(loop_.watch(signals_.handle(), [this] { on_signal(); }));
    place_by_ = join_by + kAfterDeadline;
    control::AgentSays says;
    control::AgentHello& hello = *says.mutable_hello();
    hello.set_protocol(kControlProtocol);
    hello.set_host(options_.host);
    hello.set_node_rank(request_.hosts->node_rank.value_or(-1));
    hello.set_ranks(request_.ranks);
    hello.set_version(version_line());
    hello.set_run_id(request_.run_id);
    uplink_->send(std::move(says));
    say("this host attends the job at " + request_.hosts->address + ":" + std::to_string(request_.hosts->port));
    return {};
  }

  void say(const std::string& text) { console_.line(Channel::kErrors, "rondo: " + text); }

  void on_orders() {
    for (const auto& order : uplink_->take()) {
      if (code_ || !error_.ok()) return;
      if (order) {
        carry_out(*order);
      } else {
        coordinator_lost();
      }
    }
  }

  void carry_out(const control::CoordinatorSays& order) {
    if (order.has_place()) return settle(order.place());
    if (order.has_finish()) {
      if (!order.finish().cause().empty()) say(printable(order.finish().cause()));
      code_ = order.finish().exit_code();
      return;
    }
    if (!agent_) return;
    switch (order.content_case()) {
      case control::CoordinatorSays::kStart:
        return agent_->start(order.start().generation());
      case control::CoordinatorSays::kVerdict:
        return agent_->tell(verdict_of(order.verdict()));
      case control::CoordinatorSays::kStop:
        return agent_->stop(order.stop().signal());
      case control::CoordinatorSays::kWriteFlights:
        return agent_->write_flights(order.write_flights().number());
      case control::CoordinatorSays::kAsk:
        return agent_->ask(order.ask().signal());
      case control::CoordinatorSays::kSuspend:
        return suspend_ranks();
      case control::CoordinatorSays::kResume:
        return resume_ranks();
      case control::CoordinatorSays::kReportUsage:
        return agent_->report_usage();
      case control::CoordinatorSays::kEndOutput:
        return agent_->end_output();
      default:
        return;
    }
  }

  /// The hosts have met: this is where ours stands.
  void settle(const control::Place& said) {
    if (agent_) return;
    if (!is_bytes_of(said.job(), 16) || said.first_rank() < 0 || said.world_size() > kMostRanksOfAJob ||
        said.first_rank() > said.world_size() - request_.ranks) {
      error_ = {comm::Code::kCorrupt, "the coordinator gave this host no place that makes sense"};
      return;
    }
    const HostPlace place{.node_rank = said.node_rank(),
                          .nodes = said.ranks_of_nodes_size(),
                          .first_rank = said.first_rank(),
                          .world_size = said.world_size()};
    RunFolderOptions wanted = request_.folder;
    wanted.run_id = said.run_folder();
    const bool one_name = wanted.run_id.find('/') == std::string::npos && !wanted.run_id.starts_with('.');
    auto folder = one_name ? RunFolder::join(wanted)
                           : comm::Status(comm::Code::kCorrupt, "the coordinator's run has a name that is no folder's");
    if (!folder.ok()) {
      error_ = folder.status();
      return;
    }
    folder_.emplace(*std::move(folder));
    const auto secret = options_.secret.bytes();
    HostAgent::Setting setting{.plan = plan_ranks(request_, place, read_cpus()),
                               .facts = {.host = place,
                                         .generation = 0,
                                         .master = {.address = said.master_address(), .port = said.master_port()},
                                         .store = said.store(),
                                         .job = said.job(),
                                         .run_directory = folder_->path()},
                               .secret_bytes = {reinterpret_cast<const char*>(secret.data()), secret.size()},
                               .signal_mask = signals_.mask_before()};
    std::vector<Display::Place> places(
        static_cast<size_t>(place.world_size));  // those of other hosts write nothing here
    for (int local_rank = 0; local_rank < request_.ranks; ++local_rank)
      places[static_cast<size_t>(place.first_rank + local_rank)] = {.host = options_.host, .local_rank = local_rank};
    display_.emplace(console_, display_of_host(request_.display, place, request_.ranks), std::move(places));
    tee_.emplace(options_.host, *folder_, *uplink_, console_, *display_);
    agent_.emplace(request_, loop_, *folder_, *tee_, std::move(setting));
    const int last = place.first_rank + request_.ranks - 1;
    say("host " + std::to_string(place.node_rank) + " of " + std::to_string(place.nodes) +
        (last == place.first_rank ? ": rank " : ": ranks " + std::to_string(place.first_rank) + " to ") +
        std::to_string(last) + " of " + std::to_string(place.world_size) + ", run folder " + folder_->shown_path());
  }

  void on_signal() {
    const Signals::Came came = signals_.next();
    const int signal = came.signal;
    if (signal == 0 || (!agent_ && !Signals::stops(signal))) return;  // nothing runs here yet
    if (signal == SIGTSTP) {
      stop_by_ = Clock::now() + kSuspendedWithin;
      may_stop_ = false;  // until the coordinator has answered, also where the job stands still already
    }
    if (signal == SIGCONT) stop_by_.reset();
    tell_signal(came);
    if (!Signals::stops(signal)) return;
    if (!agent_ || ++signals_seen_ > 2) {  // nothing runs here yet, or the user has lost patience with the coordinator
      if (agent_) agent_->stop(SIGKILL);
      code_ = kExitSignalBase + signal;
    }
  }

  void tell_signal(const Signals::Came& came) {
    control::AgentSays says;
    says.mutable_signal_came()->set_signal(came.signal);
    says.mutable_signal_came()->set_by_program(came.by_program);
    uplink_->send(std::move(says));
  }

  /// From here on the coordinator may be stopped, and say nothing for as long as its user likes. The end of its process
  /// still ends the connection.
  void suspend_ranks() {
    agent_->suspend();
    suspended_ = may_stop_ = true;
    uplink_->stop_beating();
    control::AgentSays says;
    says.mutable_ranks_suspended();
    uplink_->send(std::move(says));
  }
  void resume_ranks() {
    agent_->resume();
    suspended_ = may_stop_ = false;
    uplink_->beat_again();
  }
  /// Ctrl-Z here: once all ranks of the job stand still, so may this agent. Half a job never stops.
  void stop_when_suspended(TimePoint now) {
    if (!stop_by_) return;
    if (may_stop_) {
      stop_by_.reset();
      say("stopped with all ranks of the job; they go on with it (fg, bg, kill -CONT)");
      console_.flush();
      ::kill(::getpid(), SIGSTOP);  // as TSTP would have done; returns when somebody says CONT
      tell_signal({.signal = SIGCONT, .by_program = false});
    } else if (*stop_by_ <= now) {
      stop_by_.reset();
      tell_signal({.signal = SIGCONT, .by_program = false});  // behind the other: nobody waits for this launcher
      say("not stopped: the coordinator at " + request_.hosts->address + " has not answered in " +
          std::to_string(kSuspendedWithin.count()) + " s; is its launcher stopped itself?");
    }
  }

  void coordinator_lost() {
    const comm::Status why = uplink_->end_status();
    if (!agent_) {
      error_ = why.ok() || why.code() == comm::Code::kClosed
                   ? comm::Status(comm::Code::kPeerLost, "the coordinator sent this host away without a word")
                   : why;
      return;
    }
    if (lost_) return;
    lost_ = true;
    say("the coordinator at " + request_.hosts->address + ":" + std::to_string(request_.hosts->port) +
        " is lost: " + (why.ok() ? "it ended the connection" : why.message()) + "; this host's ranks are stopped");
    if (suspended_) resume_ranks();  // else they would not end
    stop_by_.reset();
    agent_->stop(SIGTERM);
    kill_at_ = Clock::now() + request_.grace;
  }

  void on_time(TimePoint now) {
    if (display_) display_->flush_due(now);
    console_.flush();
    if (agent_) agent_->on_time(now);
    uplink_->on_time(now);
    stop_when_suspended(now);
    if (!agent_ && now >= place_by_ && error_.ok())
      error_ = {comm::Code::kTimeout, "the coordinator at " + request_.hosts->address + " said nothing in time"};
    if (!lost_) return;
    if (!agent_->any_alive()) code_ = kExitHang;
    if (kill_at_ && *kill_at_ <= now) {
      agent_->stop(SIGKILL);
      code_ = kExitHang;
    }
  }

  TimePoint next_moment(TimePoint now) const {
    TimePoint next = now + std::chrono::minutes(1);
    const auto consider = [&](const std::optional<TimePoint>& moment) {
      if (moment) next = std::min(next, *moment);
    };
    consider(uplink_->next_moment());
    if (agent_) consider(agent_->next_moment());
    if (display_) consider(display_->due());
    if (!agent_) consider(place_by_);
    consider(kill_at_);
    consider(stop_by_);
    if (console_.waiting() || uplink_->congested()) consider(now + std::chrono::milliseconds(5));
    return next;
  }

  comm::Result<int> close() {
    if (agent_ && agent_->any_alive()) agent_->stop(SIGKILL);  // with their children, whatever the reason
    if (agent_) agent_->end_output();
    if (display_) display_->flush_all();
    console_.end_progress();
    loop_.unwatch(uplink_->handle());
    loop_.unwatch(signals_.handle());
    uplink_->close(code_.value_or(kExitPreflight), {Clock::now() + kGoodbyeFor});
    if (error_.code() == comm::Code::kTimeout) {
      say(error_.message());
      code_ = kExitRendezvous;
    }
    deliver_output(console_, signals_);
    if (!code_) return error_;
    return *code_;
  }

  const JobRequest& request_;
  Signals& signals_;
  EventLoop& loop_;
  const AttendOptions& options_;
  Console console_;
  std::unique_ptr<Uplink> uplink_;
  std::optional<RunFolder> folder_;
  std::optional<Display> display_;
  std::optional<Tee> tee_;
  std::optional<HostAgent> agent_;
  TimePoint place_by_{};
  std::optional<TimePoint> kill_at_;
  bool suspended_ = false;            // the ranks
  bool may_stop_ = false;             // the coordinator has answered the last Ctrl-Z here, or suspended the job since
  std::optional<TimePoint> stop_by_;  // the user wants this agent stopped: when the ranks are, and by then
  int signals_seen_ = 0;
  bool lost_ = false;
  std::optional<int> code_;
  comm::Status error_;
};

}  // namespace

comm::Result<int> attend_job(const JobRequest& request, Signals& signals, EventLoop& loop,
                             const AttendOptions& options) {
  return Visit(request, signals, loop, options).run();
}

DisplayOptions display_of_host(const DisplayOptions& wanted, const HostPlace& host, int ranks) {
  DisplayOptions shown = wanted;
  shown.hidden.clear();
  for (const auto& [local_rank, channel] : wanted.hidden)
    if (local_rank < ranks) shown.hidden.insert({host.first_rank + local_rank, channel});
  return shown;
}

}  // namespace rondo::launcher
