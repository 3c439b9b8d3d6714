#include "rondo/step_statistics.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>

namespace rondo {
namespace {

double milliseconds(int64_t microseconds) { return static_cast<double>(microseconds) / 1e3; }

double megabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

std::string decimal(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

/// The words, as far as a line has room for them.
std::string first_of(const std::vector<std::string>& words) {
  constexpr size_t kMost = 32;
  std::string text;
  for (size_t i = 0; i < std::min(words.size(), kMost); ++i) text += (i == 0 ? "" : " ") + words[i];
  return words.size() > kMost ? text + " ..." : text;
}

struct Span {
  int64_t begin, end;
};

/// Time that at least one of `spans` covers, as far as it lies before `limit`.
int64_t covered(std::vector<Span> spans, int64_t limit) {
  std::ranges::sort(spans, {}, &Span::begin);
  int64_t sum = 0, until = INT64_MIN;
  for (const Span& span : spans) {
    const int64_t begin = std::max(span.begin, until), end = std::min(span.end, limit);
    if (end <= begin) continue;
    sum += end - begin;
    until = end;
  }
  return sum;
}

std::vector<Span> spans_of(const std::vector<BucketTimes>& buckets) {
  std::vector<Span> spans;
  for (const BucketTimes& bucket : buckets) spans.push_back({.begin = bucket.launch_us, .end = bucket.complete_us});
  return spans;
}

}  // namespace

std::vector<int> StepStatistics::ready_order() const {
  std::vector<int> order(buckets.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [this](int b) { return buckets[static_cast<size_t>(b)].ready_us; });
  return order;
}

int64_t StepStatistics::communication_us() const { return covered(spans_of(buckets), INT64_MAX); }

double StepStatistics::overlap() const {
  const int64_t all = communication_us();
  if (all <= 0) return 0;
  return static_cast<double>(covered(spans_of(buckets), backward_end_us)) / static_cast<double>(all);
}

Straggler StepStatistics::straggler() const {
  if (ranks.empty()) return {};
  const auto last = std::ranges::max_element(ranks, {}, &RankTimes::last_gradient_us);
  Straggler found{.rank = static_cast<int>(last - ranks.begin())};
  std::vector<int64_t> others;
  for (auto rank = ranks.begin(); rank != ranks.end(); ++rank) {
    if (rank != last) others.push_back(rank->last_gradient_us);
  }
  if (others.empty()) return found;
  std::ranges::sort(others);
  const int64_t median = (others[(others.size() - 1) / 2] + others[others.size() / 2]) / 2;
  found.behind_us = last->last_gradient_us - median;
  return found;
}

std::string StepStatistics::text() const {
  std::array<char, 160> part{};
  std::snprintf(part.data(), part.size(), "step %lld: backward %.1f ms, %lld bucket%s of %.1f MB",
                static_cast<long long>(step), milliseconds(backward_end_us), static_cast<long long>(bucket_count),
                bucket_count == 1 ? "" : "s", megabytes(bucket_bytes));
  std::string line = part.data();
  std::vector<std::string> sizes, order, ready;
  for (const BucketTimes& bucket : buckets) sizes.push_back(decimal(megabytes(bucket.byte_count)));
  for (const int bucket : ready_order()) order.push_back(std::to_string(bucket));
  for (const RankTimes& rank : ranks) ready.push_back(decimal(milliseconds(rank.last_gradient_us)));
  if (buckets.size() > 1) line += " (" + first_of(sizes) + ")";
  if (!buckets.empty()) line += ", ready " + first_of(order);
  std::snprintf(part.data(), part.size(), ", %.0f %% of %.1f ms hidden, %.1f ms exposed", 100 * overlap(),
                milliseconds(communication_us()), milliseconds(exposed_us));
  line += part.data();
  if (ranks.size() > 1) {
    const Straggler last = straggler();
    line += "; ranks ready at " + first_of(ready) + " ms";
    std::snprintf(part.data(), part.size(), ", rank %d last, %.1f ms behind", last.rank, milliseconds(last.behind_us));
    line += part.data();
  }
  return line;
}

}  // namespace rondo
