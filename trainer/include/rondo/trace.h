/// A timeline of all ranks for chrome://tracing and ui.perfetto.dev, on one clock. On request only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "rondo/job.h"
#include "rondo/step_statistics.h"

namespace rondo {

namespace trainer {
class TraceEvents;  // private to Rondo
}

struct TraceOptions {
  /// Of a rank; the oldest are forgotten. A step has five and two a bucket; about 100 bytes each.
  int64_t most_events = 100'000;
};

/// One thread.
///
///   rondo::Trace trace(job);
///   ... { auto forward = trace.span("forward"); loss = ...; } loss.backward(); optimizer.step();
///   trace.add(ddp.statistics());
///   ... trace.write("trace.json");
class Trace {
 public:
  /// Collective: compares the clocks of all ranks. Ranks under one kernel share one; the others' are known to within
  /// half of the quickest exchange (clock_error()).
  explicit Trace(const Job& job, const TraceOptions& options = {});
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  /// A step that was reduced: backward, each bucket from ready over launch to complete, what was exposed, the record.
  void add(const StepStatistics& statistics);

  /// An event of the caller's, from span() until the result is destroyed. The Trace must live that long.
  class [[nodiscard]] Span {
   public:
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    friend class Trace;
    Span(trainer::TraceEvents& events, std::string name);
    trainer::TraceEvents& events_;
    std::string name_;
    std::chrono::steady_clock::time_point begin_;
  };
  Span span(std::string name);

  /// Collective: rank 0 gathers the events of all ranks and writes `file` whole: a JSON array. Throws rondo::Error, on
  /// every rank when the file cannot be written. Cost: every rank receives the events of all.
  void write(const std::string& file) const;

  /// How far this rank's times may be off from rank 0's.
  std::chrono::nanoseconds clock_error() const;

 private:
  const Job job_;
  std::unique_ptr<trainer::TraceEvents> events_;
};

}  // namespace rondo
