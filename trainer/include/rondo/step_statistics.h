/// What one synced backward did: when each bucket was ready, launched and complete on this rank, how much of the
/// reduction backward hid, and when every rank had its gradients. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

/// Microseconds since the step's first gradient arrived on this rank.
struct BucketTimes {
  int64_t byte_count = 0;
  int64_t ready_us = 0;     // its last gradient arrived; the end of backward if one never came
  int64_t launch_us = 0;    // handed to the collective; buckets go out in index order
  int64_t complete_us = 0;  // this rank saw it complete: at a later gradient, or after backward
};

/// One rank's way to its gradients. Microseconds since the step record before was complete: the one moment that all
/// ranks share to within a message, so these compare between ranks without a common clock.
struct RankTimes {
  int64_t first_gradient_us = 0;  // until then: data, forward, the begin of backward
  int64_t last_gradient_us = 0;   // the others wait for the latest of these
};

/// The rank that the others waited for.
struct Straggler {
  int rank = 0;
  int64_t behind_us = 0;  // its last gradient, after the median of the others'; 0 in a job of one
};

/// Of the last synced backward. Times in microseconds since its first gradient arrived.
/// Cost: 8 bytes a rank in the step record, which goes out anyway, and two looks at the clock a bucket.
struct StepStatistics {
  int64_t step = 0;             // number of completed reductions
  int64_t begin_ns = 0;         // the monotonic clock at the first gradient
  int64_t first_launch_us = 0;  // the first bucket went out
  int64_t last_ready_us = 0;    // the last gradient arrived
  int64_t backward_end_us = 0;  // autograd had nothing left to do
  int64_t reduced_us = 0;       // every bucket was complete
  int64_t record_us = 0;        // the step record was complete
  double weight = 1;            // of this rank in the mean
  int64_t exposed_us = 0;       // reduction that backward did not hide: record_us - backward_end_us
  int64_t bucket_count = 0;
  int64_t bucket_bytes = 0;
  std::vector<BucketTimes> buckets;  // in index order
  std::vector<RankTimes> ranks;      // by rank, the same on all

  /// Bucket indices, the first ready first.
  std::vector<int> ready_order() const;
  /// Time during which at least one bucket was launched and not complete.
  int64_t communication_us() const;
  /// The share of that time that lies before the end of backward, in [0, 1]; 0 without communication.
  double overlap() const;
  Straggler straggler() const;
  /// "step 12: backward 41.2 ms, 3 buckets of 1.7 MB (0.3 1.0 0.4), ready 0 1 2, 62 % of 18.0 ms hidden, 6.9 ms
  /// exposed; ranks ready at 60.1 63.2 ms, rank 1 last, 3.1 ms behind"; of many buckets or ranks the first 32.
  std::string text() const;
};

}  // namespace rondo
