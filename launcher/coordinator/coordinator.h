/// The coordinator of a job: shows what the ranks of all hosts write, decides who failed first, when ranks are stopped
/// or started again, and how the run ended. It touches no process: the agents of the hosts do (agent_link.h).
///
/// Threading: everything on the calling thread.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/agent/agent_link.h"
#include "launcher/agent/display.h"
#include "launcher/agent/event_log.h"
#include "launcher/agent/job_request.h"
#include "launcher/agent/run_folder.h"
#include "launcher/coordinator/flight_gathering.h"
#include "launcher/report/failed_run.h"
#include "launcher/terminal/overview.h"

namespace rondo::launcher {

class Coordinator final : public AgentEvents {
 public:
  /// A host and the ranks that it has.
  struct Host {
    std::string name;
    int ranks = 1;
  };
  /// `hosts` in the order of their ranks. `request`, `console`, `events`, `folder` and `overview` must outlive it.
  Coordinator(const JobRequest& request, Console& console, DisplayOptions display, EventLog& events,
              const RunFolder& folder, Overview& overview, const std::vector<Host>& hosts);

  /// Who carries out what it decides: one a host, in their order. Before start().
  void attend(std::vector<AgentOrders*> agents) { agents_ = std::move(agents); }
  /// Has every host start its ranks.
  void start();

  // From the agents.
  void started(int rank, pid_t pid) override;
  void start_failed(const comm::Status& why) override;
  void line(int rank, Channel channel, std::string_view text, comm::TimePoint now) override;
  void speaks_rondo(int rank) override;
  void message(int rank, const proto::WorkerMessage& message) override;
  void ended(int rank, const RankEvidence& evidence) override;
  void output_ended(int rank, const Traces& traces) override;
  void asked(int signal, const Asked& who) override;
  void stacks(int rank, const std::vector<std::string>& lines) override;
  void flight(int rank, std::span<const std::byte> record) override;
  void flights_taken(const FlightsTaken& taken) override;
  void shortened(const Shortened& cut) override;
  void usage(const std::vector<RankUsage>& of_ranks) override;
  void event(const char* kind, const nlohmann::json& fields) override;
  bool congested() const override { return console_.congested(); }

  /// The agent of a host is heard no more: so are its ranks.
  void host_lost(size_t host, const std::string& why);
  /// A signal that stops the run, from the user or the system. The first is passed on as it is: ranks end in order. The
  /// second is TERM for all, the third KILL.
  void on_stop_signal(int signal);
  /// Somebody asks for the flight records.
  void on_flight_request();
  /// Somebody wants to see where the ranks are: their flight records and the stacks of their threads.
  void on_stacks_request();
  /// The ranks are to save a checkpoint.
  void on_checkpoint_request();
  /// Somebody watches: what the ranks use is to be told for a while.
  void on_usage_request();
  /// The launcher on `host` is about to be stopped by its terminal: so are all ranks, on every host. Until all stopped
  /// launchers go on nothing is decided, and no deadline passes.
  void on_suspend(size_t host);
  /// It goes on. Whatever stopped a launcher may have stopped ranks, too: they go on in any case.
  void on_resume(size_t host);
  /// That host's agent has stopped its ranks.
  void stands_still(size_t host) { moving_.erase(host); }
  bool suspended() const { return suspended_at_.has_value(); }
  /// Suspended because of `host`, and every rank stands still, or its host has not said so in time: the launcher there
  /// may be stopped.
  bool may_stop(size_t host) const { return suspended_at_ && holders_.contains(host) && moving_.empty(); }
  void on_time(comm::TimePoint now);
  std::optional<comm::TimePoint> next_moment(comm::TimePoint now) const;

  /// Nothing more is to come of this generation, flight records of other hosts included.
  bool finished(comm::TimePoint now) const;
  /// After finished(): shows what is left and who failed, and starts all ranks again if that is wanted; else the result
  /// is the run's exit code.
  std::optional<int> conclude_generation();
  bool stopped() const { return stopped_by_.has_value(); }
  /// How many signals that stop the run have come.
  int stop_signals() const { return stop_signals_; }
  /// Why ranks could not be started.
  const comm::Status& start_error() const { return start_error_; }

 private:
  struct Rank {
    const std::string* host;
    pid_t pid = -1;
    bool speaks_rondo = false, output_ended = false;
    bool host_lost = false;  // nothing comes of it any more
    std::string no_record;   // why its flight record did not come; empty: it came, or there is none
    RankEvidence evidence;
    Traces traces;
    bool alive() const { return !evidence.ending; }  // from the order to start on
  };

  Rank& at(int rank) { return ranks_[static_cast<size_t>(rank)]; }
  bool any_alive() const;
  std::vector<RankEvidence> evidence() const;
  void say(const std::string& text);
  void decide(comm::TimePoint now);
  void announce_verdict(comm::TimePoint now);
  void stop_ranks(int signal, comm::TimePoint now);
  void write_flights(const char* cause);
  bool launcher_stopped(const Rank& rank) const;
  std::string why_no_record(const Rank& rank) const;
  Traces traces_here(int rank) const;
  void settle_flights(comm::TimePoint now);
  void wait_for_the_moving(comm::TimePoint now);
  void resume_ranks();
  void look_for_the_last_time(comm::TimePoint now);
  bool ranks_finished(comm::TimePoint now) const;
  FailedRun failed_run() const;
  int report();
  bool may_start_again(int code) const;
  void start_again();

  const JobRequest& request_;
  Console& console_;
  EventLog& events_;
  const RunFolder& folder_;
  Overview& overview_;
  const std::vector<Host> hosts_;
  Display display_;
  std::vector<AgentOrders*> agents_;
  std::optional<int> stopped_by_;  // the signal that stopped the launcher
  int stop_signals_ = 0;           // how many came
  std::set<size_t> lost_hosts_;    // they do not come back, in no generation
  int generation_ = 0;
  std::optional<comm::TimePoint> suspended_at_;
  std::set<size_t> holders_;  // hosts whose launcher is stopped, or about to be
  std::set<size_t> moving_;   // hosts whose ranks may not stand still yet
  comm::Deadline still_by_{};

  // Of this generation.
  std::vector<Rank> ranks_;
  comm::Status start_error_;
  bool failed_ = false;                      // a rank did not end well
  std::optional<int> culprit_;               // the rank that decides
  bool hung_ = false;                        // it has not ended: others waited for it in vain
  std::optional<comm::TimePoint> judge_at_;  // evidence is complete then
  std::optional<comm::TimePoint> terminate_at_, kill_at_, give_up_at_;
  std::optional<comm::TimePoint> last_end_;  // when the last living rank ended
  FlightGathering flights_;
  bool looked_ = false;  // for the last time: the records are ordered that the report needs
};

}  // namespace rondo::launcher
