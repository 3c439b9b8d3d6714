#include "trainer/gradient/step_timeline.h"

#include <chrono>
#include <numeric>

namespace rondo::trainer {
namespace {

int64_t microseconds(comm::Duration duration) {
  return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

}  // namespace

void StepTimeline::adopt(const std::vector<int64_t>& bucket_bytes) {
  notes_.buckets.clear();
  for (const int64_t bytes : bucket_bytes) notes_.buckets.push_back({.byte_count = bytes, .ready_us = -1});
  notes_.bucket_count = std::ssize(bucket_bytes);
  notes_.bucket_bytes = std::accumulate(bucket_bytes.begin(), bucket_bytes.end(), int64_t{0});
}

int64_t StepTimeline::now_us() const { return microseconds(comm::Clock::now() - start_); }

void StepTimeline::begin() {
  if (begun_) return;
  begun_ = true;
  start_ = comm::Clock::now();
  notes_.begin_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(start_.time_since_epoch()).count();
  notes_.last_ready_us = 0;
  for (BucketTimes& bucket : notes_.buckets) bucket = {.byte_count = bucket.byte_count, .ready_us = -1};
}

void StepTimeline::launched(int bucket) {
  BucketTimes& times = notes_.buckets[static_cast<size_t>(bucket)];
  times.launch_us = now_us();
  if (times.ready_us < 0) times.ready_us = times.launch_us;
  if (bucket == 0) notes_.first_launch_us = times.launch_us;
}

void StepTimeline::completed(int bucket) {
  BucketTimes& times = notes_.buckets[static_cast<size_t>(bucket)];
  if (times.complete_us == 0) times.complete_us = now_us();
}

void StepTimeline::backward_ended(double weight) {
  begin();
  notes_.weight = weight;
  notes_.backward_end_us = now_us();
}

RankTimes StepTimeline::mine() const {
  const int64_t first = microseconds(start_ - previous_record_);
  return {.first_gradient_us = first, .last_gradient_us = first + notes_.last_ready_us};
}

void StepTimeline::recorded(int64_t step, const std::vector<RankTimes>& ranks) {
  notes_.record_us = now_us();
  notes_.exposed_us = notes_.record_us - notes_.backward_end_us;
  notes_.step = step;
  notes_.ranks = ranks;
  previous_record_ = comm::Clock::now();
  begun_ = false;
  last_ = notes_;
}

}  // namespace rondo::trainer
