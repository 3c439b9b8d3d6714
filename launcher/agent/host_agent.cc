#include "launcher/agent/host_agent.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "launcher/agent/error_file.h"
#include "launcher/agent/flight_files.h"
#include "launcher/agent/programs.h"
#include "launcher/explain/live_run.h"
#include "rondo/comm/flight.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;
using std::chrono::milliseconds;

constexpr milliseconds kAnswersEvery{100}, kAnswersWithin{5000};  // to the question for stacks
constexpr milliseconds kUsageEvery{1000}, kFirstUsageAfter{250};  // a share of time needs two samples
constexpr milliseconds kDrainFor{500};  // output that is still in the pipes after the last rank ended

}  // namespace

HostAgent::HostAgent(const JobRequest& request, EventLoop& loop, RunFolder& folder, AgentEvents& events,
                     Setting setting)
    : request_(request), loop_(loop), folder_(folder), events_(events), setting_(std::move(setting)) {}

// --- what the coordinator wants

void HostAgent::start(int generation) {
  forget_ranks();
  const auto started = start_ranks(generation);
  if (started.ok()) return;
  for (const Worker& worker : workers_) signal_group(worker, SIGKILL);
  events_.start_failed(started);
}

comm::Status HostAgent::start_ranks(int generation) {
  generation_ = generation;
  memory_.begin();
  const auto shim = find_part("rondo-exec");
  RONDO_TRY(shim);
  RONDO_TRY(folder_.begin_generation(generation));
  RONDO_TRY(folder_.make_parent_of(error_file_of(folder_.path(), generation, 0)));
  JobFacts facts = setting_.facts;
  facts.generation = generation;
  const auto inherited = own_environment();
  for (const RankPlan& plan : setting_.plan) {
    auto output_log = folder_.open_log(plan.rank, "out"), error_log = folder_.open_log(plan.rank, "err");
    RONDO_TRY(output_log);
    RONDO_TRY(error_log);
    auto worker = start_worker({.rank = plan.rank,
                                .spawn = {.shim = *shim,
                                          .program = request_.program,
                                          .arguments = request_.arguments,
                                          .environment = worker_environment(inherited, place_of(request_, plan, facts)),
                                          .cpus = plan.share.cpus,
                                          .descriptors = {},
                                          .signal_mask = setting_.signal_mask},
                                .secret_bytes = setting_.secret_bytes,
                                .output_log = *std::move(output_log),
                                .error_log = *std::move(error_log)});
    RONDO_TRY(worker);
    events_.event("spawn", {{"rank", plan.rank}, {"pid", worker->pid}, {"cpus", plan.share.cpus}});
    workers_.push_back(std::move(*worker));
    events_.started(plan.rank, workers_.back().pid);
  }
  for (Worker& worker : workers_) RONDO_TRY(watch(worker));
  return {};
}

void HostAgent::tell(const Verdict& verdict) {
  for (Worker& worker : workers_) {
    if (!worker.alive()) continue;
    worker.control.send({.kind = comm::ControlKind::kVerdict,
                         .generation = static_cast<uint32_t>(generation_),
                         .rank = verdict.rank,
                         .pid = verdict.pid,
                         .exit_code = verdict.ending.signal != 0 ? -1 : verdict.ending.exit_code,
                         .signal_number = verdict.ending.signal},
                        Clock::now());
  }
}

void HostAgent::stop(int signal) {
  look();  // who ended by itself was not stopped by us
  for (Worker& worker : workers_) {
    if (!worker.alive()) continue;
    if (!worker.evidence.stopped_by_launcher)
      worker.evidence.silence =
          Silence{.state = process_state(worker.pid), .beat_before = silence_of(worker.flight, Clock::now())};
    worker.evidence.stopped_by_launcher = true;
    signal_group(worker, signal);
  }
}

void HostAgent::ask(int signal) {
  look();
  AgentEvents::Asked who;
  questions_.clear();
  for (Worker& worker : workers_) {
    if (!worker.alive()) continue;
    const bool hears = catches(worker.pid, signal);
    const uint64_t answers = stack_answers(worker.flight);
    if (hears) ::kill(worker.pid, signal);
    if (hears && signal == SIGUSR2) questions_.push_back({.worker = &worker, .before = answers, .seen = answers});
    (hears ? who.ranks : who.deaf).push_back(worker.rank);
  }
  events_.asked(signal, who);
  const TimePoint now = Clock::now();
  if (!questions_.empty()) answers_at_ = now + kAnswersEvery;
  give_answers_up_at_ = now + kAnswersWithin;
}

/// Threads that run write their stacks at once, one in the kernel when it returns: a rank's are told when no more come.
void HostAgent::tell_stacks(TimePoint now) {
  const auto told = [this](Question& question) {
    const uint64_t answers = stack_answers(question.worker->flight);
    const bool all = answers > question.before && answers == question.seen;
    question.seen = answers;
    if (all) events_.stacks(question.worker->rank, recorded_stacks(question.worker->flight, SIGUSR2));
    return all || !question.worker->alive();
  };
  std::erase_if(questions_, told);
  answers_at_.reset();
  // A handler of the program's own writes none.
  if (!questions_.empty() && now < give_answers_up_at_) answers_at_ = now + kAnswersEvery;
}

void HostAgent::report_usage() {
  const TimePoint now = Clock::now();
  usage_until_ = now + kReportUsageFor;
  if (usage_at_) return;
  tell_usage(now);
  usage_at_ = now + kFirstUsageAfter;
}

void HostAgent::tell_usage(TimePoint now) {
  std::vector<AgentEvents::RankUsage> all;
  for (Worker& worker : workers_) {
    if (!worker.alive()) continue;
    const auto sample = sample_usage(worker.pid);
    if (!sample) continue;
    ProcessUsage usage{.cpu_percent = std::nullopt, .resident_bytes = sample->resident_bytes, .state = sample->state};
    if (usage_at_ && worker.cpu_time)
      usage.cpu_percent = cpu_percent(sample->cpu_time - *worker.cpu_time, now - sampled_at_);
    worker.cpu_time = sample->cpu_time;
    all.push_back({.rank = worker.rank, .usage = usage});
  }
  sampled_at_ = now;
  usage_at_ = now < usage_until_ ? std::optional(now + kUsageEvery) : std::nullopt;
  if (!all.empty()) events_.usage(all);
}

void HostAgent::suspend() {
  look();
  for (const Worker& worker : workers_)
    if (worker.alive()) ::kill(-worker.pid, SIGSTOP);
}

void HostAgent::resume() {
  look();
  for (const Worker& worker : workers_)
    if (worker.alive()) ::kill(-worker.pid, SIGCONT);
}

void HostAgent::write_flights(uint64_t number) {
  AgentEvents::FlightsTaken taken{.number = number, .recorded = {}, .silent = {}};
  std::set<int> silent;  // also those that were never started
  for (const RankPlan& plan : setting_.plan) silent.insert(plan.rank);
  for (const Worker& worker : workers_) {
    const std::vector<std::byte> record = comm::take_flight(worker.flight.bytes(), Clock::now());
    if (record.empty()) continue;
    silent.erase(worker.rank);
    taken.recorded.push_back(worker.rank);
    events_.flight(worker.rank, record);
  }
  taken.silent.assign(silent.begin(), silent.end());
  events_.flights_taken(taken);
}

void HostAgent::look() {
  for (Worker& worker : workers_) on_process(worker);
}

void HostAgent::end_output() {
  for (Worker& worker : workers_) {
    finish(worker.output);
    finish(worker.errors);
    output_may_have_ended(worker);
  }
}

/// Whatever of them still lives in a corner has the old generation: it looks for others of that number only, and links
/// refuse it.
void HostAgent::forget_ranks() {
  for (Worker& worker : workers_) {
    if (worker.messages.open()) loop_.unwatch(worker.messages.get());
    if (worker.control.handle() >= 0) loop_.unwatch(worker.control.handle());
  }
  questions_.clear();
  workers_.clear();
  last_end_.reset();
}

// --- what comes from the ranks

comm::Status HostAgent::watch_output(Worker& worker) {
  for (OutputStream* stream : {&worker.output, &worker.errors}) {
    if (stream->open())
      RONDO_TRY(loop_.watch_patiently(stream->handle(), [this, &worker, stream] { on_output(worker, *stream); }));
  }
  return {};
}

comm::Status HostAgent::watch(Worker& worker) {
  if (!output_held_) RONDO_TRY(watch_output(worker));
  RONDO_TRY(loop_.watch(worker.messages.get(), [this, &worker] { on_messages(worker); }));
  RONDO_TRY(loop_.watch(worker.control.handle(), [this, &worker] { on_control(worker); }));
  return loop_.watch(worker.process.get(), [this, &worker] { on_process(worker); });
}

void HostAgent::on_output(Worker& worker, OutputStream& stream) {
  if (stream.read(Clock::now(), events_)) {
    if (stream.read_much()) loop_.hurry();
    return;
  }
  finish(stream);
  output_may_have_ended(worker);
}

void HostAgent::finish(OutputStream& stream) {
  if (!stream.open()) return;
  loop_.unwatch(stream.handle());
  stream.finish(Clock::now(), events_);
}

void HostAgent::output_may_have_ended(Worker& worker) {
  if (worker.output_told || worker.alive() || worker.output.open() || worker.errors.open()) return;
  worker.output_told = true;
  AgentEvents::Traces traces{.last_lines = worker.errors.last_lines(),
                             .log_path = folder_.log_path(worker.rank, "err")};
  if (auto printed = worker.output.last_lines(); traces.last_lines.empty() && !printed.empty())
    traces = {
        .last_lines = std::move(printed), .log_path = folder_.log_path(worker.rank, "out"), .stream = Channel::kOutput};
  events_.output_ended(worker.rank, traces);
}

void HostAgent::heard(Worker& worker) {
  if (!worker.speaks_rondo) events_.speaks_rondo(worker.rank);
  worker.speaks_rondo = true;
}

void HostAgent::on_messages(Worker& worker) {
  const auto take = [&](const proto::WorkerMessage& message) {
    heard(worker);
    if (message.has_say()) worker.output.log_line(message.say().line());
    if (message.has_failure()) {
      worker.evidence.report = FailureReport{.culprit = message.failure().culprit_rank(),
                                             .code = message.failure().code(),
                                             .text = message.failure().text()};
    }
    events_.message(worker.rank, message);
  };
  std::array<char, 16 * 1024> buffer;
  while (worker.messages.open()) {
    const ssize_t count = ::read(worker.messages.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    comm::Status status(comm::Code::kClosed, "closed");
    if (count > 0) status = worker.message_reader.feed({buffer.data(), static_cast<size_t>(count)}, take);
    if (status.ok()) continue;
    if (status.code() == comm::Code::kCorrupt)
      events_.event("bad_message", {{"rank", worker.rank}, {"text", status.message()}});
    loop_.unwatch(worker.messages.get());
    worker.messages.reset();
  }
}

void HostAgent::on_control(Worker& worker) {
  const auto status = worker.control.receive([&](const comm::ControlFrame& frame) {
    heard(worker);
    if (frame.kind == comm::ControlKind::kSuspicion)
      events_.event("suspicion", {{"rank", worker.rank}, {"about", frame.rank}, {"pid", frame.pid}});
  });
  if (status.ok()) return;
  if (status.code() == comm::Code::kCorrupt)
    events_.event("bad_control_frame", {{"rank", worker.rank}, {"text", status.message()}});
  loop_.unwatch(worker.control.handle());
  worker.control.close();
}

void HostAgent::on_process(Worker& worker) {
  if (!worker.alive()) return;
  const auto ending = collect_ending(worker, Clock::now());
  if (!ending) return;
  on_messages(worker);  // what it said before it ended
  worker.evidence.ending = ending;
  if (!ending->good()) {
    if (const auto culprit = recorded_culprit(worker.flight)) {
      worker.evidence.told_of = culprit->rank;
      worker.evidence.told_timeout = culprit->timeout;
    }
    if (ending->signal != 0) worker.evidence.backtrace = recorded_stacks(worker.flight, ending->signal);
    if (ending->signal == SIGKILL && !worker.evidence.stopped_by_launcher) {
      worker.evidence.out_of_memory = memory_.since_begin();
      if (const auto log = kernel_killed(worker.pid); worker.evidence.out_of_memory.empty() && log)
        worker.evidence.out_of_memory = *log;
    }
    if (!worker.evidence.report)
      worker.evidence.report = read_error_file(error_file_of(folder_.path(), generation_, worker.rank),
                                               worker.evidence.told_of.value_or(worker.rank));
  }
  loop_.unwatch(worker.process.get());
  loop_.hurry();  // its output ends, too
  events_.event("exit", {{"rank", worker.rank},
                         {"pid", worker.pid},
                         {"exit_code", ending->signal != 0 ? nlohmann::json() : nlohmann::json(ending->exit_code)},
                         {"signal", ending->signal != 0 ? nlohmann::json(ending->signal) : nlohmann::json()},
                         {"stopped", worker.evidence.stopped_by_launcher}});
  if (!any_alive()) last_end_ = ending->at;
  events_.ended(worker.rank, worker.evidence);
  output_may_have_ended(worker);
}

bool HostAgent::any_alive() const {
  return std::any_of(workers_.begin(), workers_.end(), [](const Worker& worker) { return worker.alive(); });
}

// --- what time brings

void HostAgent::on_time(TimePoint now) {
  for (Worker& worker : workers_) {
    worker.output.flush_stale(now, events_);
    worker.errors.flush_stale(now, events_);
  }
  hold_output_while_congested();
  if (answers_at_ && *answers_at_ <= now) tell_stacks(now);
  if (usage_at_ && *usage_at_ <= now) tell_usage(now);
  if (last_end_ && !output_held_ && *last_end_ + kDrainFor <= now) end_output();
}

std::optional<TimePoint> HostAgent::next_moment() const {
  std::optional<TimePoint> next;
  const auto consider = [&](const std::optional<TimePoint>& moment) {
    if (moment) next = next ? std::min(*next, *moment) : *moment;
  };
  bool told = true;
  for (const Worker& worker : workers_) {
    consider(worker.output.stale_at());
    consider(worker.errors.stale_at());
    told = told && worker.output_told;
  }
  consider(answers_at_);
  consider(usage_at_);
  if (last_end_ && !output_held_ && !told) consider(*last_end_ + kDrainFor);
  return next;
}

void HostAgent::hold_output_while_congested() {
  if (events_.congested() == output_held_) return;
  output_held_ = !output_held_;
  for (Worker& worker : workers_) {
    if (output_held_) {
      loop_.unwatch(worker.output.handle());
      loop_.unwatch(worker.errors.handle());
    } else if (const auto watched = watch_output(worker); !watched.ok()) {
      events_.event("output_lost", {{"rank", worker.rank}, {"text", watched.message()}});
    }
  }
}

}  // namespace rondo::launcher
