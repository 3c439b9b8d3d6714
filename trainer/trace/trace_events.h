/// One rank's events of a trace, bounded, and their text. Times are of this rank's clock until they are written.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "rondo/step_statistics.h"
#include "trainer/trace/clock_offset.h"

namespace rondo::trainer {

/// Rows of a rank in the viewer: tracks 0 and 1, then one for each bucket, because buckets under way overlap.
enum Track : int { kTrainingTrack = 0, kCallerTrack = 1, kFirstBucketTrack = 2 };

struct TraceEvent {
  std::string name;
  int track = kTrainingTrack;
  int64_t begin_ns = 0, duration_ns = 0;
  int64_t step = 0;        // 0: of no step
  int64_t byte_count = 0;  // 0: none
};

class TraceEvents {
 public:
  TraceEvents(int rank, int64_t most_events, ClockOffset clock)
      : rank_(rank), most_events_(most_events), clock_(clock) {}

  void add(TraceEvent event);
  void add(const StepStatistics& statistics);

  const std::deque<TraceEvent>& events() const { return events_; }
  const ClockOffset& clock() const { return clock_; }
  /// JSON objects separated by ",\n": names of the rank and its tracks, then the events. Microseconds of rank 0's
  /// clock.
  std::string text() const;

 private:
  const int rank_;
  const int64_t most_events_;
  const ClockOffset clock_;
  std::deque<TraceEvent> events_;
};

}  // namespace rondo::trainer
