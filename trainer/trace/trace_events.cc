#include "trainer/trace/trace_events.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

namespace rondo::trainer {
namespace {

std::string track_name(int track) {
  if (track == kTrainingTrack) return "training";
  if (track == kCallerTrack) return "program";
  return "bucket " + std::to_string(track - kFirstBucketTrack);
}

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Nanoseconds as microseconds, every digit kept.
std::string microseconds(int64_t ns) {
  std::array<char, 40> text{};
  const int64_t whole = ns / 1000, rest = ns % 1000;
  std::snprintf(text.data(), text.size(), "%s%lld.%03lld", ns < 0 && whole == 0 ? "-" : "",
                static_cast<long long>(whole), static_cast<long long>(rest < 0 ? -rest : rest));
  return text.data();
}

}  // namespace

void TraceEvents::add(TraceEvent event) {
  if (most_events_ <= 0) return;
  if (std::ssize(events_) >= most_events_) events_.pop_front();
  events_.push_back(std::move(event));
}

void TraceEvents::add(const StepStatistics& statistics) {
  const auto put = [&](const std::string& name, int track, int64_t from_us, int64_t to_us, int64_t bytes = 0) {
    add({.name = name,
         .track = track,
         .begin_ns = statistics.begin_ns + from_us * 1000,
         .duration_ns = std::max<int64_t>(to_us - from_us, 0) * 1000,
         .step = statistics.step,
         .byte_count = bytes});
  };
  // Nested: the step holds what led to its first gradient, backward, and what backward did not hide.
  const int64_t before_us =
      rank_ < std::ssize(statistics.ranks) ? statistics.ranks[static_cast<size_t>(rank_)].first_gradient_us : 0;
  put("step", kTrainingTrack, -before_us, statistics.record_us);
  put("data and forward", kTrainingTrack, -before_us, 0);
  put("backward", kTrainingTrack, 0, statistics.backward_end_us);
  put("wait for buckets", kTrainingTrack, statistics.backward_end_us, statistics.reduced_us);
  put("record", kTrainingTrack, statistics.reduced_us, statistics.record_us);
  for (size_t b = 0; b < statistics.buckets.size(); ++b) {
    const BucketTimes& bucket = statistics.buckets[b];
    const int track = kFirstBucketTrack + static_cast<int>(b);
    put("ready", track, bucket.ready_us, bucket.launch_us, bucket.byte_count);
    put("all_reduce", track, bucket.launch_us, bucket.complete_us, bucket.byte_count);
  }
}

std::string TraceEvents::text() const {
  const std::string pid = "\"pid\":" + std::to_string(rank_);
  std::string text = R"({"name":"process_name","ph":"M",)" + pid + R"(,"args":{"name":"rank )" + std::to_string(rank_) +
                     "\",\"clock_error_us\":" + microseconds(clock_.error_ns) + "}}";
  std::set<int> tracks;
  for (const TraceEvent& event : events_) tracks.insert(event.track);
  for (const int track : tracks) {
    text += ",\n{\"name\":\"thread_name\",\"ph\":\"M\"," + pid + ",\"tid\":" + std::to_string(track) +
            ",\"args\":{\"name\":\"" + track_name(track) + "\"}}";
  }
  for (const TraceEvent& event : events_) {
    text += ",\n{\"name\":" + quoted(event.name) + ",\"ph\":\"X\"," + pid + ",\"tid\":" + std::to_string(event.track) +
            ",\"ts\":" + microseconds(event.begin_ns + clock_.offset_ns) +
            ",\"dur\":" + microseconds(event.duration_ns);
    if (event.step > 0) text += ",\"args\":{\"step\":" + std::to_string(event.step);
    if (event.step > 0 && event.byte_count > 0) text += ",\"bytes\":" + std::to_string(event.byte_count);
    text += event.step > 0 ? "}}" : "}";
  }
  return text;
}

}  // namespace rondo::trainer
