/// The reducer's notes about one synced backward, from which StepStatistics are made. The reducer calls it at each
/// moment; what a moment means is said there. Not thread-safe: behind the reducer's mutex.
#pragma once

#include <vector>

#include "rondo/comm/deadline.h"
#include "rondo/step_statistics.h"
#include "trainer/step/step_record.h"

namespace rondo::trainer {

class StepTimeline {
 public:
  /// A new bucket plan, before any bucket of it is launched.
  void adopt(const std::vector<int64_t>& bucket_bytes);

  // Of one backward, in this order. `begin` counts when it comes first; another one is ignored until `recorded`.
  void begin();
  void gradient_arrived() { notes_.last_ready_us = now_us(); }
  void ready(int bucket) { notes_.buckets[static_cast<size_t>(bucket)].ready_us = now_us(); }
  void launched(int bucket);
  void completed(int bucket);
  void backward_ended(double weight);
  void reduced() { notes_.reduced_us = now_us(); }
  /// What this rank puts into the step record.
  RankTimes mine() const;
  /// The step record is complete: these are the statistics of `step` from now on.
  void recorded(int64_t step, const std::vector<RankTimes>& ranks);

  const StepStatistics& last() const { return last_; }

 private:
  int64_t now_us() const;

  StepStatistics notes_;  // of the backward under way
  StepStatistics last_;
  bool begun_ = false;
  comm::TimePoint start_;                                 // the first gradient
  comm::TimePoint previous_record_ = comm::Clock::now();  // at first: the wrapper is made, which ends with an exchange
};

}  // namespace rondo::trainer
