/// One collective in flight: the operation that its group advances, and what a Work holds.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "comm/collective/execution.h"
#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {

class CollectiveState final : public Operation {
 public:
  CollectiveState(std::shared_ptr<GroupState> group, Execution execution, std::vector<std::byte> storage)
      : group_(std::move(group)), storage_(std::move(storage)), execution_(std::move(execution)) {}
  /// Finished at birth.
  explicit CollectiveState(const Status& outcome)
      : execution_(std::make_shared<const Schedule>(), {}, {}), outcome_(outcome), done_(true) {}

  const std::shared_ptr<GroupState>& group() const { return group_; }
  bool done() const { return done_.load(std::memory_order_acquire); }
  /// After done().
  const Status& outcome() const { return outcome_; }

  void enqueued(uint64_t sequence) override { execution_.descriptor().sequence = sequence; }
  Progress advance(Turn turn) override { return execution_.advance(turn); }
  Status status() const override { return execution_.status(); }
  void finish(const Status& outcome) override {
    outcome_ = outcome;
    done_.store(true, std::memory_order_release);
  }
  Where where() const override;
  FlightCall flight_call() const override;
  FlightPosition flight_position() const override;

 private:
  const std::shared_ptr<GroupState> group_;  // shared with the user's Group; the group drops this operation first
  const std::vector<std::byte> storage_;     // a barrier's own byte
  Execution execution_;                      // under the group's lock
  Status outcome_;                           // written once, before done_
  std::atomic<bool> done_{false};
};

/// What every collective asks for, checked and queued in one place.
struct Launch {
  CollectiveKind kind;
  BufferView data;  // what the schedule's elements are
  ReduceOp op = ReduceOp::kSum;
  int root = -1;
  CallOptions options;
  std::vector<std::byte> storage;
};
Work launch(Group& group, Launch request);

}  // namespace rondo::comm
