#include "trainer/gradient/bucket_plan.h"

#include <algorithm>
#include <map>
#include <utility>

namespace rondo::trainer {
namespace {

int64_t aligned_count(const GradientShape& shape) {
  const int64_t step = kSlotAlignmentBytes / static_cast<int64_t>(comm::byte_width(shape.dtype));
  return (shape.element_count + step - 1) / step * step;
}

int64_t aligned_bytes(const GradientShape& shape) {
  return aligned_count(shape) * static_cast<int64_t>(comm::byte_width(shape.dtype));
}

struct OpenBucket {
  std::vector<int> parameters;
  int64_t byte_count = 0;
  int last_position = 0;  // in the order of arrival
};

// Cuts the tail that fits `edge_bytes` off the bucket that fills last.
void split_last(std::vector<OpenBucket>& buckets, std::span<const GradientShape> shapes, int64_t edge_bytes) {
  OpenBucket& last = buckets.back();
  if (buckets.size() < 2 || last.byte_count <= edge_bytes) return;
  OpenBucket tail{.parameters = {}, .byte_count = 0, .last_position = last.last_position};
  while (last.parameters.size() > 1) {
    const int64_t byte_count = aligned_bytes(shapes[last.parameters.back()]);
    if (tail.byte_count + byte_count > edge_bytes) break;
    tail.parameters.insert(tail.parameters.begin(), last.parameters.back());
    tail.byte_count += byte_count;
    last.parameters.pop_back();
    last.byte_count -= byte_count;
  }
  if (!tail.parameters.empty()) buckets.push_back(std::move(tail));
}

BucketLayout lay_out(const OpenBucket& bucket, std::span<const GradientShape> shapes) {
  BucketLayout layout{.dtype = shapes[bucket.parameters.front()].dtype, .slots = {}};
  for (const int parameter : bucket.parameters) {
    layout.slots.push_back({.parameter = parameter, .offset = layout.element_count});
    layout.element_count += aligned_count(shapes[parameter]);
  }
  return layout;
}

}  // namespace

std::vector<int> reverse_order(int count) {
  std::vector<int> order(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) order[i] = count - 1 - i;
  return order;
}

std::vector<int> complete_order(std::span<const int> observed, std::span<const int> fallback) {
  std::vector<int> order;
  std::vector<bool> taken(fallback.size(), false);
  for (const std::span<const int> source : {observed, fallback}) {
    for (const int parameter : source) {
      if (parameter < 0 || parameter >= std::ssize(taken) || taken[parameter]) continue;
      taken[parameter] = true;
      order.push_back(parameter);
    }
  }
  return order;
}

int64_t byte_count(std::span<const GradientShape> shapes) {
  int64_t sum = 0;
  for (const GradientShape& shape : shapes) sum += aligned_bytes(shape);
  return sum;
}

BucketPlan make_bucket_plan(std::span<const GradientShape> shapes, std::span<const int> order, BucketCaps caps) {
  std::vector<OpenBucket> closed;
  std::map<comm::DType, OpenBucket> open;
  const auto close = [&](OpenBucket& bucket) { closed.push_back(std::exchange(bucket, {})); };
  for (int position = 0; position < std::ssize(order); ++position) {
    const int parameter = order[position];
    OpenBucket& bucket = open[shapes[parameter].dtype];
    const int64_t byte_count = aligned_bytes(shapes[parameter]);
    const int64_t cap = closed.empty() ? std::min(caps.edge_bytes, caps.bucket_bytes) : caps.bucket_bytes;
    if (!bucket.parameters.empty() && bucket.byte_count + byte_count > cap) close(bucket);
    bucket.parameters.push_back(parameter);
    bucket.byte_count += byte_count;
    bucket.last_position = position;
  }
  for (auto& [dtype, bucket] : open) {
    if (!bucket.parameters.empty()) close(bucket);
  }
  // A bucket can go out when its last gradient is there.
  std::ranges::sort(closed, {}, &OpenBucket::last_position);
  if (!closed.empty()) split_last(closed, shapes, caps.edge_bytes);
  BucketPlan plan;
  int64_t byte_offset = 0;
  for (const OpenBucket& bucket : closed) {
    plan.push_back(lay_out(bucket, shapes));
    plan.back().byte_offset = byte_offset;
    byte_offset += bucket.byte_count;
  }
  return plan;
}

}  // namespace rondo::trainer
