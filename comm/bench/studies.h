/// What is measured besides the time of collectives: how fast a mismatch is known, and what forming a group costs.
#pragma once

#include "comm/bench/plan.h"
#include "comm/bench/report.h"
#include "comm/bench/room.h"
#include "rondo/comm/endpoint.h"
#include "rondo/comm/store.h"

namespace rondo::bench {

/// Counts what a rank asks of the store.
class CountingStore : public comm::Store {
 public:
  explicit CountingStore(std::shared_ptr<comm::Store> inner) : inner_(std::move(inner)) {}
  std::unique_ptr<comm::StoreCall> start(comm::StoreRequest request) override;
  int64_t requests() const { return requests_; }

 private:
  const std::shared_ptr<comm::Store> inner_;  // the job's; shared with its endpoint
  std::atomic<int64_t> requests_ = 0;
};

/// For each way in which calls may differ: the last rank makes a wrong call, on a fresh group each time. A sample is
/// the time from the calls' start until the slowest rank has kMismatch; a rank that gets anything else counts as wrong.
comm::Status study_mismatch(const comm::Endpoint& endpoint, Room& room, const Plan& plan, Report& report);

/// Forms and closes groups. A sample is the time until the slowest rank has its group.
comm::Status study_create(const comm::Endpoint& endpoint, Room& room, const Plan& plan, const CountingStore& store,
                          Report& report);

}  // namespace rondo::bench
