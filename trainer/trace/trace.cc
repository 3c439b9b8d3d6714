#include "rondo/trace.h"

#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include "rondo/comm/collectives.h"
#include "trainer/checkpoint/durable_file.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/trace/trace_events.h"

namespace rondo {
namespace {

using SteadyClock = std::chrono::steady_clock;

int64_t nanoseconds(SteadyClock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

std::string_view text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Trace::Trace(const Job& job, const TraceOptions& options)
    : job_(job),
      events_(std::make_unique<trainer::TraceEvents>(
          job.rank, options.most_events,
          trainer::value_or_throw(trainer::measure_clock_offset(job.state()->user_group())))) {}

Trace::~Trace() = default;

void Trace::add(const StepStatistics& statistics) { events_->add(statistics); }

Trace::Span::Span(trainer::TraceEvents& events, std::string name)
    : events_(events), name_(std::move(name)), begin_(SteadyClock::now()) {}

Trace::Span::~Span() {
  events_.add({.name = std::move(name_),
               .track = trainer::kCallerTrack,
               .begin_ns = nanoseconds(begin_.time_since_epoch()),
               .duration_ns = nanoseconds(SteadyClock::now() - begin_)});
}

Trace::Span Trace::span(std::string name) { return {*events_, std::move(name)}; }

void Trace::write(const std::string& file) const {
  constexpr double kSeconds = 60;
  comm::Group& group = job_.state()->user_group();
  const std::string mine = events_->text();
  const auto blobs = trainer::value_or_throw(
      comm::gather(group, std::as_bytes(std::span(mine)), {.rank = 0}, comm::in_seconds(kSeconds), {.tag = "trace"}));
  std::string problem;
  if (job_.rank == 0) {
    std::string text = "[\n";
    for (const auto& blob : blobs) text.append(text.size() > 2 ? ",\n" : "").append(text_of(blob));
    text += "\n]\n";
    try {
      trainer::write_atomically(file, std::as_bytes(std::span(text)));
    } catch (const Error& error) {
      problem = error.what();
    }
  }
  const std::vector<std::vector<std::byte>> answers(
      static_cast<size_t>(job_.world_size),
      {std::as_bytes(std::span(problem)).begin(), std::as_bytes(std::span(problem)).end()});
  const auto answer =
      trainer::value_or_throw(comm::scatter(group, answers, {.rank = 0}, comm::in_seconds(kSeconds), {.tag = "trace"}));
  if (!answer.empty()) throw Error(std::string(text_of(answer)));
}

std::chrono::nanoseconds Trace::clock_error() const { return std::chrono::nanoseconds(events_->clock().error_ns); }

}  // namespace rondo
