/// One collective in flight: the operation that its group advances, and what a Work holds.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/collective/execution.h"
#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {

/// What all collectives have in common: how they end.
class CollectiveState : public Operation {
 public:
  explicit CollectiveState(std::shared_ptr<GroupState> group) : group_(std::move(group)) {}

  const std::shared_ptr<GroupState>& group() const { return group_; }
  bool done() const { return done_.load(std::memory_order_acquire); }
  /// After done().
  const Status& outcome() const { return outcome_; }
  void finish(const Status& outcome) final {
    outcome_ = outcome;
    done_.store(true, std::memory_order_release);
  }

 private:
  const std::shared_ptr<GroupState> group_;  // shared with the user's Group; the group drops this operation first
  Status outcome_;                           // written once, before done_
  std::atomic<bool> done_{false};
};

/// Finished at birth.
class FinishedCollective final : public CollectiveState {
 public:
  explicit FinishedCollective(const Status& outcome) : CollectiveState(nullptr) { finish(outcome); }
  void enqueued(uint64_t) override {}
  Progress advance(const Turn&) override { return Progress::kDone; }
  Status status() const override { return outcome(); }
  Where where() const override { return {}; }
  FlightCall flight_call() const override { return {}; }
  FlightPosition flight_position() const override { return {}; }
};

/// A schedule carried out action by action, over any transport.
class ScheduledCollective final : public CollectiveState {
 public:
  /// kWidened: the schedule runs on float32 copies of 16-bit elements, which are rounded once, at the end.
  enum class Sums : uint8_t { kInPlace, kWidened };
  ScheduledCollective(std::shared_ptr<GroupState> group, std::shared_ptr<const Schedule> schedule, Binding binding,
                      Descriptor descriptor, std::vector<std::byte> storage, Sums sums);

  void enqueued(uint64_t sequence) override { execution_.descriptor().sequence = sequence; }
  Progress advance(const Turn& turn) override;
  Status status() const override { return execution_.status(); }
  Where where() const override {
    return where_of(*group(), execution_.descriptor(), execution_.waits_for(), execution_.phase());
  }
  FlightCall flight_call() const override {
    return flight_call_of(execution_.descriptor(), FlightName(execution_.algorithm()));
  }
  FlightPosition flight_position() const override {
    return flight_position_of(*group(), execution_.waits_for(),
                              {.hop = execution_.hop(), .hop_count = execution_.hop_count()});
  }

 private:
  std::vector<std::byte> storage_;         // a barrier's own byte
  const BufferView narrow_;                // kWidened: where the rounded result goes; else empty
  std::vector<float> wide_, wide_result_;  // kWidened: what the schedule works on
  Execution execution_;                    // under the group's lock
};

/// What every collective asks for, checked and queued in one place.
struct Launch {
  CollectiveKind kind;
  BufferView data;    // what the schedule's elements are
  BufferView output;  // of reduce_scatter and all_gather; else empty
  ReduceOp op = ReduceOp::kSum;
  int root = -1;
  CallOptions options;
  std::vector<std::byte> storage;
  End end = End::kNone;  // of a transfer, whose `root` is 0
};
Work launch(Group& group, Launch request);

}  // namespace rondo::comm
