#include "launcher/agent/agent.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "launcher/agent/console.h"
#include "launcher/agent/error_file.h"
#include "launcher/agent/event_log.h"
#include "launcher/agent/event_loop.h"
#include "launcher/agent/flight_files.h"
#include "launcher/agent/job_plan.h"
#include "launcher/agent/meeting_point.h"
#include "launcher/agent/programs.h"
#include "launcher/agent/report.h"
#include "launcher/agent/signals.h"
#include "launcher/agent/worker.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;
using std::chrono::milliseconds;

constexpr milliseconds kOwnErrorsFor{3000};  // workers that speak Rondo end by themselves after a verdict
constexpr milliseconds kDrainFor{500};       // output that is still in the pipes after the last rank ended
constexpr milliseconds kUnkillableAfter{5000};
constexpr milliseconds kConsoleRetry{5};  // while a reader of our output takes nothing

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

class Agent {
 public:
  explicit Agent(JobRequest request)
      : request_(std::move(request)),
        host_(host_name()),
        display_(console_, request_.display, {.ranks = request_.ranks, .host = host_}) {}

  comm::Result<int> run();

 private:
  comm::Status prepare();
  comm::Status start_ranks();
  comm::Status watch(Worker& worker);
  comm::Status watch_output(Worker& worker);

  void on_signal();
  void on_output(OutputStream& stream);
  void on_messages(Worker& worker);
  void on_message(Worker& worker, const proto::WorkerMessage& message);
  void on_control(Worker& worker);
  void on_process(Worker& worker);

  void on_time(TimePoint now);
  TimePoint next_moment(TimePoint now) const;
  void decide(TimePoint now);
  void announce_verdict(TimePoint now);
  void stop_ranks(int signal, TimePoint now);
  void write_flights(const char* cause);
  void hold_output_while_congested();
  bool finished(TimePoint now) const;
  void deliver_output();
  int conclude_generation();
  bool may_start_again(int code) const;
  void start_again();
  int conclude(int code);

  bool any_alive() const {
    return std::any_of(workers_.begin(), workers_.end(), [](const Worker& worker) { return worker.alive(); });
  }
  std::vector<RankEvidence> evidence() const;

  // Constant after construction.
  const JobRequest request_;
  const std::string host_;

  Console console_;
  Display display_;
  Signals signals_;
  EventLoop loop_;
  EventLog events_;
  std::optional<RunFolder> folder_;
  std::optional<MeetingPoint> meeting_;
  std::vector<RankPlan> plan_;
  bool output_held_ = false;       // nobody takes our output: the ranks' pipes are not read
  std::optional<int> stopped_by_;  // the signal that stopped the launcher
  int generation_ = 0;

  // Of this generation.
  std::vector<Worker> workers_;        // by rank; not resized once watched
  std::optional<int> culprit_;         // the rank that decides
  std::optional<TimePoint> judge_at_;  // evidence is complete then
  std::optional<TimePoint> terminate_at_, kill_at_, give_up_at_;
  std::optional<TimePoint> last_end_;  // when the last living rank ended
};

comm::Status Agent::prepare() {
  RONDO_TRY(signals_.open(request_.stop_signals));
  RONDO_TRY(loop_.open());
  auto folder = RunFolder::create(request_.folder);
  RONDO_TRY(folder);
  folder_ = std::move(*folder);
  RONDO_TRY(events_.open(folder_->file("events.jsonl")));
  auto meeting = MeetingPoint::open(request_.master, [this](const comm::Status& why) {
    events_.write("store_refused", {{"text", why.text()}});
  });
  RONDO_TRY(meeting);
  meeting_ = std::move(*meeting);
  RONDO_TRY(loop_.watch(signals_.handle(), [this] { on_signal(); }));
  plan_ = plan_ranks(request_, read_topology());
  const int threads = plan_[0].share.threads;
  if (request_.announce)
    request_.announce({.ranks = request_.ranks, .threads = threads, .run_folder = folder_->shown_path()});
  events_.write("start", {{"program", request_.program},
                          {"ranks", request_.ranks},
                          {"threads", threads},
                          {"host", host_},
                          {"pid", ::getpid()},
                          {"job", meeting_->job()}});
  return {};
}

comm::Status Agent::start_ranks() {
  const auto shim = find_part("rondo-exec");
  RONDO_TRY(shim);
  RONDO_TRY(folder_->begin_generation(generation_));
  RONDO_TRY(folder_->make_parent_of(error_file_of(folder_->path(), generation_, 0)));
  const JobFacts facts{.generation = generation_,
                       .master_port = meeting_->master_port(),
                       .store = meeting_->store_address(),
                       .job = meeting_->job(),
                       .run_directory = folder_->path()};
  const auto inherited = own_environment();
  for (const RankPlan& plan : plan_) {
    auto output_log = folder_->open_log(plan.rank, "out"), error_log = folder_->open_log(plan.rank, "err");
    RONDO_TRY(output_log);
    RONDO_TRY(error_log);
    auto worker = start_worker({.rank = plan.rank,
                                .spawn = {.shim = *shim,
                                          .program = request_.program,
                                          .arguments = request_.arguments,
                                          .environment = worker_environment(inherited, place_of(request_, plan, facts)),
                                          .cpus = plan.share.cpus,
                                          .descriptors = {},
                                          .signal_mask = signals_.mask_before()},
                                .secret_bytes = meeting_->secret_bytes(),
                                .output_log = *std::move(output_log),
                                .error_log = *std::move(error_log)});
    RONDO_TRY(worker);
    events_.write("spawn", {{"rank", plan.rank}, {"pid", worker->pid}, {"cpus", plan.share.cpus}});
    workers_.push_back(std::move(*worker));
  }
  for (Worker& worker : workers_) RONDO_TRY(watch(worker));
  return {};
}

comm::Status Agent::watch_output(Worker& worker) {
  for (OutputStream* stream : {&worker.output, &worker.errors}) {
    if (stream->open()) RONDO_TRY(loop_.watch(stream->handle(), [this, stream] { on_output(*stream); }));
  }
  return {};
}

comm::Status Agent::watch(Worker& worker) {
  if (!output_held_) RONDO_TRY(watch_output(worker));
  RONDO_TRY(loop_.watch(worker.messages.get(), [this, &worker] { on_messages(worker); }));
  RONDO_TRY(loop_.watch(worker.control.handle(), [this, &worker] { on_control(worker); }));
  return loop_.watch(worker.process.get(), [this, &worker] { on_process(worker); });
}

comm::Result<int> Agent::run() {
  RONDO_TRY(prepare());
  while (true) {
    if (const auto started = start_ranks(); !started.ok()) {
      for (const Worker& worker : workers_) signal_group(worker, SIGKILL);
      events_.write("end", {{"error", started.text()}});
      return started;
    }
    for (TimePoint now = Clock::now(); !finished(now); now = Clock::now()) {
      loop_.turn(next_moment(now) - now);
      on_time(Clock::now());
    }
    const int code = conclude_generation();
    if (!may_start_again(code)) return conclude(code);
    start_again();
  }
}

// --- what comes in

void Agent::on_signal() {
  const int signal = signals_.next();
  if (signal == 0) return;
  if (signal == SIGUSR1) return write_flights("request");
  const TimePoint now = Clock::now();
  for (Worker& worker : workers_) on_process(worker);  // who failed before the signal keeps the blame
  decide(TimePoint::max());
  events_.write("signal", {{"signal", signal}});
  if (stopped_by_) {
    kill_at_ = now;  // asked again: no more patience
    return;
  }
  stopped_by_ = signal;
  write_flights("signal");  // before the ranks are disturbed: a user stops what hangs
  kill_at_ = std::min(kill_at_.value_or(TimePoint::max()), now + request_.grace);
  stop_ranks(signal, now);
}

void Agent::on_output(OutputStream& stream) {
  const int handle = stream.handle();
  if (stream.read(Clock::now(), display_)) return;
  loop_.unwatch(handle);
  stream.finish(Clock::now(), display_);
}

void Agent::on_messages(Worker& worker) {
  std::array<char, 16 * 1024> buffer;
  while (worker.messages.open()) {
    const ssize_t count = ::read(worker.messages.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    comm::Status status(comm::Code::kClosed, "closed");
    if (count > 0) {
      status = worker.message_reader.feed({buffer.data(), static_cast<size_t>(count)},
                                          [&](const proto::WorkerMessage& message) { on_message(worker, message); });
    }
    if (status.ok()) continue;
    if (status.code() == comm::Code::kCorrupt) {
      events_.write("bad_message", {{"rank", worker.rank}, {"text", status.message()}});
    }
    loop_.unwatch(worker.messages.get());
    worker.messages.reset();
  }
}

void Agent::on_message(Worker& worker, const proto::WorkerMessage& message) {
  worker.speaks_rondo = true;
  switch (message.content_case()) {
    case proto::WorkerMessage::kHello:
      events_.write("hello", {{"rank", worker.rank},
                              {"program", message.hello().program()},
                              {"torch", message.hello().torch_version()},
                              {"joined", message.hello().joined()}});
      break;
    case proto::WorkerMessage::kProgress: {
      const auto& said = message.progress();
      if (worker.rank != 0) break;
      console_.progress({.epoch = said.epoch(),
                         .epochs = said.epochs(),
                         .step = said.step(),
                         .steps = said.steps(),
                         .loss = said.loss(),
                         .learning_rate = said.learning_rate(),
                         .samples_per_second = said.samples_per_second(),
                         .phase = said.phase()},
                        Clock::now());
      break;
    }
    case proto::WorkerMessage::kSay:
      worker.output.log_line(message.say().line());
      display_.say(worker.rank, message.say().line());
      break;
    case proto::WorkerMessage::kFailure:
      worker.evidence.report = FailureReport{.culprit = message.failure().culprit_rank(),
                                             .code = message.failure().code(),
                                             .text = message.failure().text()};
      events_.write("failure", {{"rank", worker.rank},
                                {"culprit", message.failure().culprit_rank()},
                                {"code", message.failure().code()},
                                {"text", message.failure().text()},
                                {"exit_code", message.failure().exit_code()}});
      break;
    case proto::WorkerMessage::kGoodbye:
    case proto::WorkerMessage::CONTENT_NOT_SET:
      break;
  }
}

void Agent::on_control(Worker& worker) {
  const auto status = worker.control.receive([&](const comm::ControlFrame& frame) {
    worker.speaks_rondo = true;
    if (frame.kind == comm::ControlKind::kSuspicion) {
      events_.write("suspicion", {{"rank", worker.rank}, {"about", frame.rank}, {"pid", frame.pid}});
    }
  });
  if (status.ok()) return;
  if (status.code() == comm::Code::kCorrupt) {
    events_.write("bad_control_frame", {{"rank", worker.rank}, {"text", status.message()}});
  }
  loop_.unwatch(worker.control.handle());
  worker.control.close();
}

void Agent::on_process(Worker& worker) {
  if (!worker.alive()) return;
  const auto ending = collect_ending(worker, Clock::now());
  if (!ending) return;
  on_messages(worker);  // what it said before it ended
  worker.evidence.ending = ending;
  if (!ending->good()) {
    worker.evidence.told_of = recorded_culprit(worker.flight);
    if (!worker.evidence.report)
      worker.evidence.report = read_error_file(error_file_of(folder_->path(), generation_, worker.rank),
                                               worker.evidence.told_of.value_or(worker.rank));
  }
  loop_.unwatch(worker.process.get());
  events_.write("exit", {{"rank", worker.rank},
                         {"pid", worker.pid},
                         {"exit_code", ending->signal != 0 ? nlohmann::json() : nlohmann::json(ending->exit_code)},
                         {"signal", ending->signal != 0 ? nlohmann::json(ending->signal) : nlohmann::json()},
                         {"stopped", worker.evidence.stopped_by_launcher}});
  if (!any_alive()) last_end_ = ending->at;
}

// --- what is decided

std::vector<RankEvidence> Agent::evidence() const {
  std::vector<RankEvidence> all;
  for (const Worker& worker : workers_) all.push_back(worker.evidence);
  return all;
}

void Agent::decide(TimePoint now) {
  if (culprit_ || stopped_by_) return;
  const Judgement judgement = judge(evidence(), now);
  judge_at_ = judgement.until;
  if (!judgement.culprit) return;
  culprit_ = judgement.culprit;
  announce_verdict(now);
}

void Agent::announce_verdict(TimePoint now) {
  const Worker& culprit = workers_[static_cast<size_t>(*culprit_)];
  const Ending& ending = *culprit.evidence.ending;
  events_.write("verdict",
                {{"rank", culprit.rank}, {"host", host_}, {"pid", culprit.pid}, {"cause", ending.describe()}});
  bool all_speak = true;
  for (Worker& worker : workers_) {
    if (!worker.alive()) continue;
    worker.control.send({.kind = comm::ControlKind::kVerdict,
                         .generation = static_cast<uint32_t>(generation_),
                         .rank = culprit.rank,
                         .pid = culprit.pid,
                         .exit_code = ending.signal != 0 ? -1 : ending.exit_code,
                         .signal_number = ending.signal},
                        now);
    all_speak = all_speak && worker.speaks_rondo;
  }
  terminate_at_ = all_speak ? now + kOwnErrorsFor : now;
  write_flights("failure");
}

/// Keeps what the ranks' flight recorders hold now. Answers a request also when no rank ever recorded anything.
void Agent::write_flights(const char* cause) {
  nlohmann::json written = nlohmann::json::array(), errors = nlohmann::json::array();
  for (const Worker& worker : workers_) {
    const auto wrote = write_flight(folder_->path(), worker.rank, worker.flight, Clock::now());
    if (!wrote.ok()) errors.push_back(wrote.status().message());
    if (wrote.ok() && *wrote) written.push_back(worker.rank);
  }
  if (written.empty() && errors.empty() && std::string_view(cause) != "request") return;
  events_.write("flight", {{"cause", cause}, {"ranks", written}, {"errors", errors}});
}

void Agent::stop_ranks(int signal, TimePoint now) {
  for (Worker& worker : workers_) on_process(worker);  // who ended by itself was not stopped by us
  for (Worker& worker : workers_) {
    if (!worker.alive()) continue;
    worker.evidence.stopped_by_launcher = true;
    signal_group(worker, signal);
  }
  events_.write("stop", {{"signal", signal}});
  if (signal == SIGKILL) give_up_at_ = now + kUnkillableAfter;
}

void Agent::on_time(TimePoint now) {
  for (Worker& worker : workers_) {
    worker.output.flush_stale(now, display_);
    worker.errors.flush_stale(now, display_);
  }
  display_.flush_due(now);
  console_.flush();
  hold_output_while_congested();
  decide(now);
  if (!any_alive()) return;
  if (terminate_at_ && *terminate_at_ <= now && !kill_at_) {
    stop_ranks(SIGTERM, now);
    kill_at_ = now + request_.grace;
  }
  if (kill_at_ && *kill_at_ <= now && !give_up_at_) stop_ranks(SIGKILL, now);
}

void Agent::hold_output_while_congested() {
  if (console_.congested() == output_held_) return;
  output_held_ = !output_held_;
  for (Worker& worker : workers_) {
    if (output_held_) {
      loop_.unwatch(worker.output.handle());
      loop_.unwatch(worker.errors.handle());
    } else if (const auto watched = watch_output(worker); !watched.ok()) {
      events_.write("output_lost", {{"rank", worker.rank}, {"text", watched.message()}});
    }
  }
}

TimePoint Agent::next_moment(TimePoint now) const {
  TimePoint next = now + std::chrono::minutes(1);
  const auto consider = [&](const std::optional<TimePoint>& moment) {
    if (moment) next = std::min(next, *moment);
  };
  for (const Worker& worker : workers_) {
    consider(worker.output.stale_at());
    consider(worker.errors.stale_at());
  }
  consider(display_.due());
  if (!culprit_) consider(judge_at_);
  if (!kill_at_) consider(terminate_at_);
  if (!give_up_at_) consider(kill_at_);
  consider(give_up_at_);
  if (last_end_ && !output_held_) consider(*last_end_ + kDrainFor);
  if (console_.waiting()) consider(now + kConsoleRetry);
  return next;
}

bool Agent::finished(TimePoint now) const {
  if (any_alive()) return give_up_at_ && *give_up_at_ <= now;
  const bool drained = std::none_of(workers_.begin(), workers_.end(),
                                    [](const Worker& worker) { return worker.output.open() || worker.errors.open(); });
  const bool wait_for_reader = output_held_ && !stopped_by_;
  return drained || (!wait_for_reader && last_end_ && now >= *last_end_ + kDrainFor);
}

/// Waits for the readers of our output as any program does; a signal ends that.
void Agent::deliver_output() {
  const auto stopped = [&] {
    const int signal = signals_.next();
    return signal != 0 && signal != SIGUSR1;
  };
  while (!console_.flush() && !stopped()) {
    pollfd signal{.fd = signals_.handle(), .events = POLLIN, .revents = 0};
    ::poll(&signal, 1, static_cast<int>(kConsoleRetry.count()));
  }
}

/// Shows what is left of the ranks' output, and who failed. The result is what the run's exit code would be.
int Agent::conclude_generation() {
  console_.end_progress();
  for (Worker& worker : workers_) {
    for (OutputStream* stream : {&worker.output, &worker.errors}) {
      if (stream->open()) loop_.unwatch(stream->handle());
      stream->finish(Clock::now(), display_);
    }
  }
  display_.flush_all();
  for (Worker& worker : workers_) {
    if (worker.alive()) {
      console_.line(Channel::kErrors, "rondo: rank " + std::to_string(worker.rank) + " (pid " +
                                          std::to_string(worker.pid) +
                                          ") does not die; it hangs in the kernel. Giving up on it");
    }
  }
  decide(TimePoint::max());
  int code = kExitOk;
  if (culprit_) {
    write_flights("failure");  // again: by now every rank has noted its own error
    std::vector<RankStory> stories;
    for (const Worker& worker : workers_) {
      stories.push_back({.rank = worker.rank,
                         .pid = worker.pid,
                         .host = host_,
                         .evidence = worker.evidence,
                         .last_lines = worker.errors.last_lines(),
                         .log_path = folder_->log_path(worker.rank, "err")});
    }
    for (const std::string& line : failure_report(stories, *culprit_)) console_.line(Channel::kErrors, line);
    code = workers_[static_cast<size_t>(*culprit_)].evidence.ending->code();
  } else if (stopped_by_) {
    code = kExitSignalBase + *stopped_by_;
    console_.line(Channel::kErrors, "rondo: stopped by signal " + signal_text(*stopped_by_));
  }
  return code;
}

bool Agent::may_start_again(int code) const {
  return code != kExitOk && culprit_ && !stopped_by_ && !any_alive() && generation_ < request_.max_restarts;
}

/// Forgets the generation that failed. Whatever of it still lives in a corner has the old number: it looks for others
/// of that number only, and links refuse it.
void Agent::start_again() {
  ++generation_;
  const std::string text = "rondo: all ranks start again, restart " + std::to_string(generation_) + " of " +
                           std::to_string(request_.max_restarts);
  console_.line(Channel::kErrors, text);
  events_.write("restart", {{"generation", generation_}, {"culprit", *culprit_}});
  for (Worker& worker : workers_) {
    if (worker.messages.open()) loop_.unwatch(worker.messages.get());
    if (worker.control.handle() >= 0) loop_.unwatch(worker.control.handle());
  }
  workers_.clear();
  culprit_.reset();
  for (std::optional<TimePoint>* moment : {&judge_at_, &terminate_at_, &kill_at_, &give_up_at_, &last_end_})
    moment->reset();
}

int Agent::conclude(int code) {
  deliver_output();
  meeting_->close();
  events_.write("end", {{"exit_code", code}});
  return code;
}

}  // namespace

comm::Result<int> run_job(JobRequest request) { return Agent(std::move(request)).run(); }

}  // namespace rondo::launcher
