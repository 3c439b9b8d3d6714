/// What the agent of a host and the coordinator of the job say to each other. On the coordinator's own host they call
/// each other; between hosts the calls travel.
///
/// Ranks are those of the job. Main thread only, on both sides.
#pragma once

#include <signal.h>

#include <cstddef>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/agent/console.h"
#include "launcher/agent/failure.h"
#include "launcher/agent/usage.h"
#include "proto/worker.pb.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

/// Where a host's agent tells what happens to its ranks.
class AgentEvents {
 public:
  virtual ~AgentEvents() = default;

  virtual void started(int rank, pid_t pid) = 0;
  /// The ranks of this host cannot be started, or not all; those that were are dead. Nothing else comes.
  virtual void start_failed(const comm::Status& why) = 0;
  virtual void line(int rank, Channel channel, std::string_view text, comm::TimePoint now) = 0;
  /// The rank's first beat or message: such a rank ends by itself after a verdict.
  virtual void speaks_rondo(int rank) = 0;
  virtual void message(int rank, const proto::WorkerMessage& message) = 0;
  virtual void ended(int rank, const RankEvidence& evidence) = 0;
  /// After ended(), when the last line has been told.
  struct Traces {
    static constexpr size_t kMostLines = 20;
    std::deque<std::string> last_lines = {};  // printable
    std::string log_path = {};                // on its host; empty: not known
    Channel stream = Channel::kErrors;        // whose lines and log; stdout's when stderr has none
  };
  virtual void output_ended(int rank, const Traces& traces) = 0;
  /// The answer to ask(): `ranks` were told, `deaf` have no handler for that signal and would have died of it.
  struct Asked {
    std::vector<int> ranks, deaf;
  };
  virtual void asked(int signal, const Asked& who) = 0;
  /// Of a rank that was asked by USR2: where its threads are, line by line.
  virtual void stacks(int rank, const std::vector<std::string>& lines) = 0;
  /// What the flight recorder of a rank held, whole (rondo/comm/flight.h).
  virtual void flight(int rank, std::span<const std::byte> record) = 0;
  /// The answer to write_flights(), after the records. `silent` recorded nothing: their programs do not use Rondo, or
  /// have not come to it.
  struct FlightsTaken {
    uint64_t number = 0;  // of the order
    std::vector<int> recorded, silent;
  };
  virtual void flights_taken(const FlightsTaken& taken) = 0;
  /// What another host said of a rank and could not say whole: no message is larger than `limit`.
  struct Shortened {
    int rank = -1;
    std::string what;  // "its stacks"
    int64_t bytes = 0, limit = 0;
  };
  virtual void shortened(const Shortened& cut) = 0;
  /// The answer to report_usage(), once a second: of each living rank.
  struct RankUsage {
    int rank = 0;
    ProcessUsage usage;
  };
  virtual void usage(const std::vector<RankUsage>& of_ranks) = 0;
  /// For events.jsonl.
  virtual void event(const char* kind, const nlohmann::json& fields) = 0;
  /// Lines wait for a slow reader: the agent lets its ranks wait too.
  virtual bool congested() const = 0;
};

/// Why the ranks of a generation are to end.
struct Verdict {
  int rank = -1;
  pid_t pid = -1;
  Ending ending;
};

/// What the coordinator has the agent of a host do.
class AgentOrders {
 public:
  virtual ~AgentOrders() = default;

  /// Starts this host's ranks as generation `generation`; those of the one before are forgotten.
  virtual void start(int generation) = 0;
  /// Every rank that is left is told by its control connection.
  virtual void tell(const Verdict& verdict) = 0;
  /// To the process group of every living rank.
  virtual void stop(int signal) = 0;
  /// A signal that wants something of the ranks: to every living rank that has a handler for it.
  virtual void ask(int signal) = 0;
  /// Stops the process group of every living rank as it is, and has them go on again.
  virtual void suspend() = 0;
  virtual void resume() = 0;
  /// Takes what the ranks' flight recorders hold now, before it returns, and tells it.
  virtual void write_flights(uint64_t number) = 0;
  /// Tells for the next kReportUsageFor what the ranks use of this host. Nobody samples it otherwise.
  static constexpr std::chrono::seconds kReportUsageFor{5};
  virtual void report_usage() = 0;
  /// Tells at once of ranks that have ended; an agent of another host does so anyway.
  virtual void look() = 0;
  /// Waits for no more output: tells of what is there.
  virtual void end_output() = 0;
};

}  // namespace rondo::launcher
