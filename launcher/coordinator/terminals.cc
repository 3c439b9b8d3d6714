#include "launcher/coordinator/terminals.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "launcher/base/text.h"
#include "launcher/control/run_door.h"
#include "launcher/explain/findings.h"
#include "launcher/remote/words.h"

namespace rondo::launcher {
namespace {

/// Whether the launcher takes `signal` as an event of its loop: else it would die of it.
bool taken(int signal) {
  sigset_t blocked;
  return ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0 && sigismember(&blocked, signal) == 1;
}

control::RunPhase phase_of(Overview::Phase phase) {
  switch (phase) {
    case Overview::Phase::kGathering:
      return control::RUN_PHASE_GATHERING;
    case Overview::Phase::kRunning:
      return control::RUN_PHASE_RUNNING;
    case Overview::Phase::kStopping:
      return control::RUN_PHASE_STOPPING;
  }
  return control::RUN_PHASE_UNKNOWN;
}

void say_rank(const Overview::Rank& rank, comm::TimePoint now, control::RankState& said) {
  said.set_host(rank.host);
  said.set_pid(std::max(rank.pid, 0));
  if (rank.ending) {
    said.mutable_ending()->set_exit_code(rank.ending->exit_code);
    said.mutable_ending()->set_signal(rank.ending->signal);
    said.mutable_ending()->set_lost(rank.ending->lost);
  }
  if (rank.progress) {
    control::TrainingState& training = *said.mutable_training();
    training.set_epoch(rank.progress->epoch);
    training.set_epochs(rank.progress->epochs);
    training.set_step(rank.progress->step);
    training.set_steps(rank.progress->steps);
    training.set_loss(rank.progress->loss);
    training.set_samples_per_second(rank.progress->samples_per_second);
    training.set_phase(rank.progress->phase);
  }
  if (rank.usage && !rank.ending) say_usage(*rank.usage, *said.mutable_usage());
  if (rank.last_line)
    said.set_line_age_ms(std::chrono::duration_cast<std::chrono::milliseconds>(now - *rank.last_line).count());
}

control::StopAnswer answer(bool accepted, const std::string& text) {
  control::StopAnswer said;
  said.set_accepted(accepted);
  said.set_text(text);
  return said;
}

}  // namespace

Terminals::Terminals(const JobRequest& request) : request_(request) {
  Operations::Run run;
  run.describe = [this] { return describe(); };
  run.logs_header = [this] { return logs_header(); };
  run.stop = [this](int signal) { return stop(signal); };
  run.ask_usage = [this] {
    if (coordinator_ != nullptr) coordinator_->on_usage_request();
  };
  run.on_refused = [this](const comm::Status& why) { events_->write("terminal_refused", {{"text", why.text()}}); };
  auto operations = Operations::make(overview_, std::move(run));
  unavailable_ = operations.status();
  if (operations.ok()) operations_ = *std::move(operations);
}

grpc::Service* Terminals::service() { return operations_ ? &operations_->service() : nullptr; }

void Terminals::open(const RunFolder& folder, Attendance* attendance, EventLoop& loop, EventLog& events) {
  folder_ = &folder;
  events_ = &events;
  if (operations_) {
    Operations::Admit admit;
    if (attendance != nullptr)
      admit = [attendance](Descriptor end, const std::string& who) { attendance->admit(std::move(end), who); };
    unavailable_ =
        operations_->open(address_of({.user = ::geteuid(), .launcher = ::getpid(), .run = folder.name()}), loop, admit);
  }
  if (!unavailable_.ok()) events.write("no_door", {{"text", unavailable_.text()}});
}

void Terminals::on_time(comm::TimePoint now) {
  if (operations_) operations_->on_time(now);
}

std::optional<comm::TimePoint> Terminals::next_moment() const {
  return operations_ ? operations_->next_moment() : std::nullopt;
}

void Terminals::close() {
  if (operations_) operations_->close();
}

control::RunDescription Terminals::describe() const {
  control::RunDescription said;
  said.set_run_id(folder_->name());
  said.set_program(request_.program);
  said.set_folder(folder_->path());
  said.set_launcher_pid(::getpid());
  const bool suspended = coordinator_ != nullptr && coordinator_->suspended();
  said.set_phase(suspended ? control::RUN_PHASE_SUSPENDED : phase_of(overview_.phase()));
  said.set_generation(overview_.generation());
  said.set_started_ms(std::chrono::floor<std::chrono::milliseconds>(since_.time_since_epoch()).count());
  const comm::TimePoint now = comm::Clock::now();
  int rank_number = 0, hosts = 0;
  for (const Overview::Rank& rank : overview_.ranks()) {
    control::RankState& state = *said.add_ranks();
    state.set_rank(rank_number++);
    say_rank(rank, now, state);
    if (rank.local_rank == 0) ++hosts;
  }
  said.set_hosts(hosts);
  return said;
}

control::LogsHeader Terminals::logs_header() const {
  const DisplayOptions& options = request_.display;
  control::LogsHeader said;
  if (options.prefix) said.set_prefix(static_cast<int>(*options.prefix));
  said.set_rank_zero_bare(options.rank_zero == DisplayOptions::RankZero::kBare);
  said.set_prefix_template(options.prefix_template.text);
  said.set_role(options.prefix_template.role);
  for (const Overview::Rank& rank : overview_.ranks()) {
    control::RankPlace& place = *said.add_places();
    place.set_host(rank.host);
    place.set_local_rank(rank.local_rank);
  }
  return said;
}

control::StopAnswer Terminals::stop(int signal) {
  constexpr std::array kKnown{SIGINT, SIGTERM, SIGKILL, SIGUSR1, SIGUSR2};
  if (std::ranges::find(kKnown, signal) == kKnown.end())
    return answer(false, "signal " + signal_text(signal) + ": there are INT, TERM, KILL, USR1 and USR2");
  const bool asks = signal == SIGUSR1 || signal == SIGUSR2;
  if (coordinator_ == nullptr) {
    if (asks) return answer(false, "no rank has been started yet: the run waits for its hosts");
    ::kill(::getpid(), SIGTERM);
    return answer(true, "the run waits for its hosts; it ends before they have come");
  }
  const int before = coordinator_->stop_signals();
  if (signal == SIGKILL || (!asks && !taken(signal))) {
    coordinator_->on_stop_signal(signal);
  } else {
    ::kill(::getpid(), signal);
  }
  const std::string name = signal_text(signal);
  if (signal == SIGUSR1) return answer(true, name + ": the ranks are asked for a checkpoint; the run says which were");
  if (signal == SIGUSR2)
    return answer(true, name + ": the ranks are asked for their stacks; the run shows them and keeps them in " +
                            folder_->path() + "/stacks");
  if (signal == SIGKILL || before >= 2) return answer(true, "SIGKILL to all processes of the ranks");
  if (before == 1) return answer(true, name + " again: SIGTERM to all processes of the ranks. Once more: SIGKILL");
  const auto grace = static_cast<uint64_t>(std::chrono::nanoseconds(request_.grace).count());
  return answer(true, name + ": passed on, the ranks end in order. Again: SIGTERM to all; a third time or after " +
                          duration_text(grace) + ": SIGKILL");
}

}  // namespace rondo::launcher
