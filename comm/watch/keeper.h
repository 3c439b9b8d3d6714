/// The one thread of an endpoint that watches while everyone else works: it holds its rank's robust mutex, waits on the
/// next living rank's, listens to the agent, and posts aborts. It never touches payload.
///
/// Thread "rondo-keeper": touches the job page, the control descriptor, `log`, `flight` and the functions of its
/// options; nothing else. Lifetime: shares the page. The destructor leaves in order and joins, within one beat.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/watch/flight_recorder.h"
#include "comm/watch/job_page.h"
#include "rondo/comm/log.h"

namespace rondo::comm {

inline constexpr Duration kBeatPeriod = std::chrono::milliseconds(20);
/// A rank that was seen not to beat for so long is called stopped in errors. Nothing is evicted for it: a rank that is
/// continued goes on.
inline constexpr Duration kStoppedAfter = std::chrono::milliseconds(250);

/// "rank 1 (pid 1234)"; without a pid when that is not known.
std::string person(int rank, int pid);

struct KeeperOptions {
  int rank = 0;
  int world_size = 1;
  std::vector<int> local_ranks;  // of this host, who are on the page; empty = all ranks of the job
  uint32_t generation = 0;
  int control_descriptor = -1;             // taken over; -1 = no agent
  LogSink log;                             // may be empty
  std::shared_ptr<FlightRecorder> flight;  // may be empty; shared with the endpoint
  /// After every abort that appears on the page, whoever posted it; to wake sleepers of this process. May be empty.
  std::function<void()> on_abort;
  /// How news pass between hosts: goes on once a beat, and once more before the keeper leaves. May be empty.
  std::function<void(TimePoint)> on_beat;
  std::function<void()> on_leave;
};

class Keeper {
 public:
  /// Enters the page as `options.rank` and starts to watch. Errors are those of JobPage::enter, and kResource.
  static Result<std::unique_ptr<Keeper>> start(std::shared_ptr<JobPage> page, KeeperOptions options);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  /// How long `rank` of this host has been watched without a new beat. Only what this keeper really watched counts: one
  /// that was itself held up for more than a beat (a stopped process, a suspended machine) discards what it sees then.
  Duration silence(int rank) const;

  /// Leaves the page in order and joins; at most one beat and what on_leave takes, so `deadline` never binds.
  /// Idempotent.
  Status close(Deadline deadline);

 private:
  class Watch;
  struct Shared;
  explicit Keeper(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  const std::shared_ptr<Shared> shared_;  // with the thread
  std::thread thread_;
};

}  // namespace rondo::comm
