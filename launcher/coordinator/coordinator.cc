#include "launcher/coordinator/coordinator.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "launcher/agent/flight_files.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/explain/findings.h"
#include "launcher/report/deeds.h"
#include "launcher/report/failure_file.h"
#include "launcher/report/failure_report.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;
using std::chrono::milliseconds;

constexpr milliseconds kOwnErrorsFor{3000};  // workers that speak Rondo end by themselves after a verdict
constexpr milliseconds kDrainFor{500};       // output of a run that was stopped, while nobody reads ours
constexpr milliseconds kUnkillableAfter{5000};
constexpr milliseconds kStillWithin{5000};    // ranks of other hosts, before the launcher stops
constexpr milliseconds kFlightsWithin{8000};  // other hosts send theirs; explain_command.cc waits longer
constexpr milliseconds kConsoleRetry{5};      // while a reader of our output takes nothing
constexpr const char* kFailureFile = "failure.json";

uint64_t nanoseconds(milliseconds time) { return static_cast<uint64_t>(std::chrono::nanoseconds(time).count()); }

std::vector<Display::Place> places_of(const std::vector<Coordinator::Host>& hosts) {
  std::vector<Display::Place> places;
  for (const Coordinator::Host& host : hosts)
    for (int local_rank = 0; local_rank < host.ranks; ++local_rank)
      places.push_back({.host = host.name, .local_rank = local_rank});
  return places;
}

}  // namespace

Coordinator::Coordinator(const JobRequest& request, Console& console, DisplayOptions display, EventLog& events,
                         const RunFolder& folder, Overview& overview, const std::vector<Host>& hosts)
    : request_(request),
      console_(console),
      events_(events),
      folder_(folder),
      overview_(overview),
      hosts_(hosts),
      display_(console, std::move(display), places_of(hosts)) {}

void Coordinator::start() {
  ranks_.clear();
  std::vector<Overview::Rank> seen;
  for (const Host& host : hosts_) {
    ranks_.insert(ranks_.end(), static_cast<size_t>(host.ranks), Rank{.host = &host.name});
    for (int local_rank = 0; local_rank < host.ranks; ++local_rank)
      seen.push_back({.host = host.name, .local_rank = local_rank});
  }
  overview_.begin(generation_, std::move(seen));
  start_error_ = {};
  culprit_.reset();
  failed_ = false;
  hung_ = false;
  for (std::optional<TimePoint>* moment : {&judge_at_, &terminate_at_, &kill_at_, &give_up_at_, &last_end_})
    moment->reset();
  flights_.forget_all();
  looked_ = false;
  for (AgentOrders* agent : agents_) agent->start(generation_);
}

// --- what comes in

void Coordinator::started(int rank, pid_t pid) {
  at(rank).pid = pid;
  overview_.started(rank, pid);
}

void Coordinator::start_failed(const comm::Status& why) {
  if (start_error_.ok()) start_error_ = why;
  console_.flush();  // the run is over
}

void Coordinator::line(int rank, Channel channel, std::string_view text, TimePoint now) {
  overview_.line(rank, channel, text, now);
  display_.line(rank, channel, text, now);
}

void Coordinator::speaks_rondo(int rank) { at(rank).speaks_rondo = true; }

void Coordinator::message(int rank, const proto::WorkerMessage& message) {
  switch (message.content_case()) {
    case proto::WorkerMessage::kHello:
      events_.write("hello", {{"rank", rank},
                              {"program", message.hello().program()},
                              {"torch", message.hello().torch_version()},
                              {"joined", message.hello().joined()}});
      break;
    case proto::WorkerMessage::kProgress: {
      const auto& said = message.progress();
      const TrainingProgress progress{.epoch = said.epoch(),
                                      .epochs = said.epochs(),
                                      .step = said.step(),
                                      .steps = said.steps(),
                                      .loss = said.loss(),
                                      .learning_rate = said.learning_rate(),
                                      .samples_per_second = said.samples_per_second(),
                                      .phase = said.phase()};
      overview_.progress(rank, progress);
      if (rank == 0) console_.progress(progress, Clock::now());
      break;
    }
    case proto::WorkerMessage::kSay:
      overview_.said(rank, message.say().line());
      display_.say(rank, message.say().line());
      break;
    case proto::WorkerMessage::kFailure:
      events_.write("failure", {{"rank", rank},
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

void Coordinator::ended(int rank, const RankEvidence& evidence) {
  at(rank).evidence = evidence;
  overview_.ended(rank, *evidence.ending);
  failed_ = failed_ || !evidence.ending->good();
  if (!any_alive()) last_end_ = Clock::now();
}

void Coordinator::output_ended(int rank, const Traces& traces) {
  at(rank).traces = traces;
  at(rank).output_ended = true;
}

void Coordinator::host_lost(size_t host, const std::string& why) {
  const std::string text = "host " + hosts_[host].name + " is lost: " + why;
  lost_hosts_.insert(host);
  events_.write("host_lost", {{"host", hosts_[host].name}, {"why", why}});
  console_.line(Channel::kErrors, "rondo: " + text);
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (ranks_[rank].host != &hosts_[host].name) continue;
    if (!ranks_[rank].evidence.ending) {
      ended(static_cast<int>(rank),
            {.ending = Ending{.exit_code = 0, .signal = 0, .at = Clock::now(), .lost = true},
             .report = FailureReport{.culprit = static_cast<int>(rank), .code = "kPeerLost", .text = text}});
    }
    if (!ranks_[rank].output_ended) ranks_[rank].traces = traces_here(static_cast<int>(rank));
    ranks_[rank].output_ended = true;
    ranks_[rank].host_lost = true;
    flights_.lost({static_cast<int>(rank)});
  }
  if (suspended_at_) resume_ranks();  // the others are to end, and cannot while they stand still
}

void Coordinator::asked(int signal, const Asked& who) {
  events_.write("asked", {{"signal", signal}, {"ranks", who.ranks}, {"deaf", who.deaf}});
  const std::string name = "rondo: " + signal_text(signal) + ": ";
  const char* const what = signal == SIGUSR1 ? " asked for a checkpoint" : " asked for their stacks";
  if (!who.ranks.empty()) say(name + ranks_text(who.ranks) + what);
  if (!who.deaf.empty())
    say(name + "not sent to " + ranks_text(who.deaf) + ", which " + (who.deaf.size() == 1 ? "has" : "have") +
        " no handler for it and would die of it");
}

void Coordinator::stacks(int rank, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += printable(line) + "\n";
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "/rank-%04d.txt", rank);
  const std::string file = std::string("stacks") + name.data();
  comm::Status kept = RunFolder::make_parent_of(folder_.file(file));
  if (kept.ok()) kept = folder_.write(file, text);
  events_.write("stacks", {{"rank", rank}, {"file", file}});
  say("rondo: where rank " + std::to_string(rank) + " is" +
      (kept.ok() ? " (kept: " + folder_.shown_path() + "/" + file + "):" : " (not kept: " + kept.message() + "):"));
  for (const std::string& line : lines) say("  " + printable(line));
}

void Coordinator::flight(int rank, std::span<const std::byte> record) {
  if (const comm::Status kept = keep_flight(folder_.path(), rank, record); !kept.ok()) flights_.not_kept(kept);
}

void Coordinator::flights_taken(const FlightsTaken& taken) {
  flights_.taken(taken.number, taken.recorded, taken.silent);
}

void Coordinator::shortened(const Shortened& cut) {
  events_.write("shortened", {{"rank", cut.rank}, {"what", cut.what}, {"bytes", cut.bytes}, {"limit", cut.limit}});
  const std::string who = cut.rank < 0 ? std::string("a host") : "rank " + std::to_string(cut.rank);
  say("rondo: of " + who + ", " + printable(cut.what) + " had " + std::to_string(cut.bytes) +
      " bytes and did not come whole: between hosts the limit is " + std::to_string(cut.limit));
}

void Coordinator::usage(const std::vector<RankUsage>& of_ranks) {
  for (const RankUsage& one : of_ranks) overview_.usage(one.rank, one.usage);
}

void Coordinator::event(const char* kind, const nlohmann::json& fields) { events_.write(kind, fields); }

void Coordinator::on_stop_signal(int signal) {
  const TimePoint now = Clock::now();
  if (suspended_at_) resume_ranks();
  for (AgentOrders* agent : agents_) agent->look();  // who failed before the signal keeps the blame
  decide(TimePoint::max());
  events_.write("signal", {{"signal", signal}});
  const std::string name = "rondo: " + signal_text(signal);
  if (signal == SIGKILL && stop_signals_ > 0) stop_signals_ = 2;  // whoever says so has no patience left
  switch (++stop_signals_) {
    case 1:
      stopped_by_ = signal;
      overview_.stopping();
      write_flights("signal");  // before the ranks are disturbed: a user stops what hangs
      kill_at_ = std::min(kill_at_.value_or(TimePoint::max()), now + request_.grace);
      if (any_alive() && signal == SIGKILL) say(name + ": to all processes of the ranks");
      if (any_alive() && signal != SIGKILL)
        say(name + ": passed on, the ranks end in order. Again: SIGTERM to all; a third time or after " +
            duration_text(nanoseconds(request_.grace)) + ": SIGKILL");
      return stop_ranks(signal, now);
    case 2:
      if (any_alive()) say(name + " again: SIGTERM to all processes of the ranks. Once more: SIGKILL");
      return stop_ranks(SIGTERM, now);
    default:
      if (any_alive()) say(name + " once more: SIGKILL");
      kill_at_ = now;
  }
}

void Coordinator::on_flight_request() { write_flights("request"); }

void Coordinator::on_stacks_request() {
  write_flights("request");
  for (AgentOrders* agent : agents_) agent->ask(SIGUSR2);
}

void Coordinator::on_checkpoint_request() {
  for (AgentOrders* agent : agents_) agent->ask(SIGUSR1);
}

void Coordinator::on_usage_request() {
  for (AgentOrders* agent : agents_) agent->report_usage();
}

void Coordinator::on_suspend(size_t host) {
  holders_.insert(host);
  if (suspended_at_) {
    if (host > 0) agents_[host]->suspend();  // it waits for this answer
    return;
  }
  const TimePoint now = Clock::now();
  suspended_at_ = now;
  still_by_ = {now + kStillWithin};
  moving_.clear();
  for (size_t other = 1; other < hosts_.size(); ++other)  // our own stop at once
    if (other != host && !lost_hosts_.contains(other)) moving_.insert(other);
  events_.write("suspend", {{"host", hosts_[host].name}});
  say(host == 0
          ? "rondo: stopped with its ranks; they go on with it (fg, bg, kill -CONT)"
          : "rondo: all ranks are stopped with the launcher on host " + hosts_[host].name + ", and go on with it");
  console_.flush();
  for (AgentOrders* agent : agents_) agent->suspend();
}

void Coordinator::wait_for_the_moving(TimePoint now) {
  if (!still_by_.passed(now)) return;
  for (const size_t host : moving_)
    say("rondo: host " + hosts_[host].name + " has not said in " + duration_text(nanoseconds(kStillWithin)) +
        " that its ranks stand still: they may go on, and miss the others");
  moving_.clear();
}

void Coordinator::on_resume(size_t host) {
  const bool held = holders_.erase(host) > 0;
  if (holders_.empty()) return resume_ranks();
  if (!held) return;
  say("rondo: the ranks stay stopped: so is the launcher on host " + hosts_[*holders_.begin()].name);
}

void Coordinator::resume_ranks() {
  holders_.clear();
  if (suspended_at_) {
    const comm::Duration stopped_for = Clock::now() - *std::exchange(suspended_at_, std::nullopt);
    for (std::optional<TimePoint>* moment : {&judge_at_, &terminate_at_, &kill_at_, &give_up_at_, &last_end_})
      if (*moment) **moment += stopped_for;
    flights_.renew({Clock::now() + kFlightsWithin});
    events_.write("resume", {{"stopped_ms", std::chrono::duration_cast<milliseconds>(stopped_for).count()}});
  }
  for (AgentOrders* agent : agents_) agent->resume();
}

void Coordinator::say(const std::string& text) { console_.line(Channel::kErrors, text); }

// --- what is decided

bool Coordinator::any_alive() const {
  return std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.alive(); });
}

std::vector<RankEvidence> Coordinator::evidence() const {
  std::vector<RankEvidence> all;
  for (const Rank& rank : ranks_) all.push_back(rank.evidence);
  return all;
}

void Coordinator::decide(TimePoint now) {
  if (culprit_ || stopped_by_ || !failed_) return;
  const Judgement judgement = judge(evidence(), now);
  judge_at_ = judgement.until;
  if (!judgement.culprit) return;
  culprit_ = judgement.culprit;
  hung_ = judgement.hung;
  announce_verdict(std::min(now, Clock::now()));
}

void Coordinator::announce_verdict(TimePoint now) {
  const Rank& culprit = at(*culprit_);
  const std::string cause = hung_ ? "did not answer" : culprit.evidence.ending->describe();
  events_.write("verdict", {{"rank", *culprit_}, {"host", *culprit.host}, {"pid", culprit.pid}, {"cause", cause}});
  const bool all_speak =
      std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return !rank.alive() || rank.speaks_rondo; });
  if (hung_) {
    terminate_at_ = now;  // those that waited for it have given up by themselves
  } else {
    for (AgentOrders* agent : agents_)
      agent->tell({.rank = *culprit_, .pid = culprit.pid, .ending = *culprit.evidence.ending});
    terminate_at_ = all_speak ? now + kOwnErrorsFor : now;
  }
  write_flights("failure");
}

void Coordinator::write_flights(const char* cause) {
  std::set<int> all;
  std::vector<int> out_of_reach;
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    all.insert(static_cast<int>(rank));
    if (ranks_[rank].host_lost || launcher_stopped(ranks_[rank])) out_of_reach.push_back(static_cast<int>(rank));
  }
  const TimePoint now = Clock::now();
  const uint64_t number = flights_.order(cause, std::move(all), {now + kFlightsWithin});
  flights_.lost(out_of_reach);
  for (AgentOrders* agent : agents_) agent->write_flights(number);
  settle_flights(now);
}

/// It sends nothing until it goes on. This one here has never been stopped when it asks.
bool Coordinator::launcher_stopped(const Rank& rank) const {
  return std::ranges::any_of(holders_, [&](size_t host) { return host > 0 && rank.host == &hosts_[host].name; });
}

std::string Coordinator::why_no_record(const Rank& rank) const {
  const std::string host = "host " + *rank.host;
  if (rank.host_lost) return host + " is lost";
  if (launcher_stopped(rank)) return "the launcher on " + host + " is stopped";
  return "its flight record did not come from " + host + " in " + duration_text(nanoseconds(kFlightsWithin));
}

/// What had come of a rank when its host was lost.
AgentEvents::Traces Coordinator::traces_here(int rank) const {
  for (const Channel stream : {Channel::kErrors, Channel::kOutput}) {
    Traces traces{
        .last_lines = overview_.last_lines(rank, stream, Traces::kMostLines), .log_path = {}, .stream = stream};
    if (!traces.last_lines.empty()) return traces;
  }
  return {};
}

/// A request is answered also when no rank ever recorded anything.
void Coordinator::settle_flights(TimePoint now) {
  for (const FlightGathering::Gathered& gathered : flights_.take_settled(now)) {
    for (const int rank : gathered.recorded) at(rank).no_record.clear();
    for (const int rank : gathered.missing) at(rank).no_record = why_no_record(at(rank));
    const bool nothing = gathered.recorded.empty() && gathered.missing.empty() && gathered.errors.empty();
    if (nothing && gathered.cause != "request") continue;
    events_.write("flight", {{"cause", gathered.cause},
                             {"ranks", gathered.recorded},
                             {"missing", gathered.missing},
                             {"errors", gathered.errors}});
  }
}

void Coordinator::stop_ranks(int signal, TimePoint now) {
  for (AgentOrders* agent : agents_) agent->stop(signal);
  events_.write("stop", {{"signal", signal}});
  if (signal == SIGKILL) give_up_at_ = now + kUnkillableAfter;
}

void Coordinator::on_time(TimePoint now) {
  display_.flush_due(now);
  console_.flush();
  settle_flights(now);
  if (suspended_at_) return wait_for_the_moving(now);
  decide(now);
  if (!looked_ && ranks_finished(now)) look_for_the_last_time(now);
  if (!any_alive()) return;
  if (terminate_at_ && *terminate_at_ <= now && !kill_at_) {
    stop_ranks(SIGTERM, now);
    kill_at_ = now + request_.grace;
  }
  if (kill_at_ && *kill_at_ <= now && !give_up_at_) {
    if (stopped_by_ && stop_signals_ < 3)
      say("rondo: " + duration_text(nanoseconds(request_.grace)) + " are over (--grace): SIGKILL");
    stop_ranks(SIGKILL, now);
  }
}

std::optional<TimePoint> Coordinator::next_moment(TimePoint now) const {
  std::optional<TimePoint> next;
  const auto consider = [&](const std::optional<TimePoint>& moment) {
    if (moment) next = next ? std::min(*next, *moment) : *moment;
  };
  consider(display_.due());
  if (console_.waiting()) consider(now + kConsoleRetry);
  if (suspended_at_) {
    if (!moving_.empty()) consider(still_by_.at);
    consider(flights_.next_moment());
    return next;
  }
  if (!culprit_) consider(judge_at_);
  if (!kill_at_) consider(terminate_at_);
  if (!give_up_at_) consider(kill_at_);
  if (!looked_) consider(give_up_at_);
  if (!looked_ && last_end_ && stopped_by_) consider(*last_end_ + kDrainFor);
  consider(flights_.next_moment());
  return next;
}

/// By now every rank has noted its own error; the report has to wait for the records of other hosts.
void Coordinator::look_for_the_last_time(TimePoint now) {
  looked_ = true;
  decide(TimePoint::max());
  if (culprit_) write_flights("failure");
  settle_flights(now);
}

bool Coordinator::finished(TimePoint now) const {
  return looked_ && !suspended_at_ && flights_.empty() && ranks_finished(now);
}

bool Coordinator::ranks_finished(TimePoint now) const {
  if (any_alive()) return give_up_at_ && *give_up_at_ <= now;
  const bool drained = std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.output_ended; });
  return drained || (stopped_by_ && last_end_ && now >= *last_end_ + kDrainFor);
}

std::optional<int> Coordinator::conclude_generation() {
  console_.end_progress();
  for (AgentOrders* agent : agents_) agent->end_output();
  display_.flush_all();
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (!ranks_[i].alive()) continue;
    console_.line(Channel::kErrors, "rondo: rank " + std::to_string(i) + " (pid " + std::to_string(ranks_[i].pid) +
                                        ") does not die; it hangs in the kernel. Giving up on it");
  }
  const int code = report();
  if (!may_start_again(code)) return code;
  start_again();
  return std::nullopt;
}

FailedRun Coordinator::failed_run() const {
  FailedRun run{.ranks = {},
                .culprit = *culprit_,
                .findings = {},
                .command = request_.again.empty() ? request_.folder.command : request_.again,
                .folder = folder_.shown_path(),
                .generation = generation_};
  for (size_t i = 0; i < ranks_.size(); ++i) {
    const Rank& rank = ranks_[i];
    run.ranks.push_back({.rank = static_cast<int>(i),
                         .pid = rank.pid,
                         .host = *rank.host,
                         .evidence = rank.evidence,
                         .last_lines = rank.traces.last_lines,
                         .log_path = rank.traces.log_path,
                         .doing = {},
                         .stream = rank.traces.stream});
  }
  run.ranks[static_cast<size_t>(*culprit_)].evidence.hung = hung_;
  const auto recorded = read_run(folder_.path());
  events_.hold();
  if (!recorded.ok()) return run;
  const Explanation explanation = explain(*recorded);
  for (const Finding& finding : explanation.findings) run.findings.push_back(finding.text);
  for (const auto& [rank, doing] : deeds(explanation))
    if (rank >= 0 && static_cast<size_t>(rank) < run.ranks.size()) run.ranks[static_cast<size_t>(rank)].doing = doing;
  const bool any_known =
      std::any_of(run.ranks.begin(), run.ranks.end(), [](const RankStory& story) { return !story.doing.empty(); });
  for (size_t i = 0; any_known && i < ranks_.size(); ++i)
    if (run.ranks[i].doing.empty() && !ranks_[i].no_record.empty())
      run.ranks[i].doing = "not known: " + ranks_[i].no_record;
  return run;
}

/// Says who failed. The result is what the run's exit code would be.
int Coordinator::report() {
  if (culprit_) {
    const FailedRun run = failed_run();
    for (const std::string& line : failure_report(run)) console_.line(Channel::kErrors, line);
    if (const auto written = folder_.write(kFailureFile, failure_json(run)); !written.ok())
      console_.line(Channel::kErrors, "rondo: " + written.message());
    return hung_ ? kExitHang : at(*culprit_).evidence.ending->code();
  }
  if (!stopped_by_) return kExitOk;
  const auto preempted = [](const Rank& rank) {
    return rank.evidence.ending && rank.evidence.ending->signal == 0 &&
           rank.evidence.ending->exit_code == kExitPreempted;
  };
  if (!ranks_.empty() && std::all_of(ranks_.begin(), ranks_.end(), preempted)) {
    say("rondo: stopped by signal " + signal_text(*stopped_by_) + ", with a checkpoint of all ranks");
    return kExitPreempted;
  }
  console_.line(Channel::kErrors, "rondo: stopped by signal " + signal_text(*stopped_by_));
  return kExitSignalBase + *stopped_by_;
}

bool Coordinator::may_start_again(int code) const {
  return code != kExitOk && culprit_ && !stopped_by_ && lost_hosts_.empty() && !any_alive() &&
         generation_ < request_.max_restarts;
}

void Coordinator::start_again() {
  const std::string kept = "failure-generation-" + std::to_string(generation_) + ".json";
  if (const auto renamed = folder_.rename(kFailureFile, kept); !renamed.ok()) say("rondo: " + renamed.message());
  ++generation_;
  console_.line(Channel::kErrors, "rondo: all ranks start again, restart " + std::to_string(generation_) + " of " +
                                      std::to_string(request_.max_restarts));
  events_.write("restart", {{"generation", generation_}, {"culprit", *culprit_}});
  start();
}

}  // namespace rondo::launcher
