/// A job of fake ranks in one thread, under a virtual clock: the same endpoints, groups and collectives as in
/// production, over inproc or over TCP's protocol in simulated streams, with faults and interleavings drawn from a
/// seed.
///
/// The keepers are off, since they are threads: the world plays the kernel and tells the job page of a death.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/sim/injector.h"
#include "comm/sim/scheduler.h"
#include "comm/sim/sim_env.h"
#include "comm/sim/trace.h"
#include "rondo/comm/group.h"
#include "rondo/comm/work.h"

namespace rondo::comm {
class JobPage;
}

namespace rondo::test {

struct FakeWorldOptions {
  comm::TransportKind transport = comm::TransportKind::kInproc;
  comm::SimOptions sim = {};                   // its injector and trace are made by the world
  std::optional<comm::FaultPlan> faults = {};  // of streams and of transports
  comm::SchedulerOptions schedule = {.order = comm::SchedulerOptions::Order::kInTurn};
  comm::Duration death_known_after = std::chrono::milliseconds(10);  // a keeper waits in slices of 20 ms
  std::shared_ptr<comm::Store> store = nullptr;                      // null: a map of the world's own
};

class FakeWorld {
 public:
  explicit FakeWorld(int rank_count, FakeWorldOptions options = {});
  ~FakeWorld();
  FakeWorld(const FakeWorld&) = delete;
  FakeWorld& operator=(const FakeWorld&) = delete;

  int rank_count() const { return static_cast<int>(endpoints_.size()); }
  comm::SimWorld& sim() { return *sim_; }
  comm::Trace& trace() { return *trace_; }
  /// Null without faults.
  comm::Injector* injector() { return injector_.get(); }
  comm::Endpoint& endpoint(size_t rank) { return endpoints_[rank]; }
  comm::TimePoint now() const { return sim_->now(); }

  /// The program of one rank. Once it is done, the world goes on looking after the rank's groups: its peers may wait
  /// for acknowledgements.
  using Program = std::function<comm::Progress(size_t rank)>;
  /// Runs it on every living rank; false when virtual time ran out first.
  bool run(const Program& program, comm::Duration limit = std::chrono::seconds(60));
  /// The ranks that were not done when the last run() ended.
  const std::vector<int>& unfinished() const { return unfinished_; }

  /// A step of a program: lets the rank go on until `work` is done.
  comm::Progress go_on(size_t rank, const comm::Work& work);

  /// The group of all ranks; fails the test when it does not form.
  std::vector<comm::Group> form(const comm::GroupOptions& options);

  /// As a SIGKILL: nothing of the rank moves any more, its streams are reset, and a moment later the job page says so.
  void kill(int rank);
  /// As a SIGSTOP that nobody lifts: the rank of the run() under way moves no more, and nobody is told.
  void freeze(int rank);
  bool dead(int rank) const { return dead_[static_cast<size_t>(rank)]; }

 private:
  void vanish(int rank);
  void tell_of_death(int rank);

  const FakeWorldOptions options_;
  std::shared_ptr<comm::Trace> trace_;        // shared with all parts of the simulation
  std::shared_ptr<comm::Injector> injector_;  // likewise
  std::shared_ptr<comm::SimWorld> sim_;       // likewise
  std::shared_ptr<comm::JobPage> page_;       // shared with the endpoints
  std::vector<comm::Endpoint> endpoints_;
  std::vector<bool> dead_;
  std::vector<int> unfinished_;
  comm::Scheduler* scheduler_ = nullptr;  // of the run() under way
  uint64_t runs_ = 0;
};

}  // namespace rondo::test
