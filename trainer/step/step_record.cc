#include "trainer/step/step_record.h"

#include <algorithm>

namespace rondo::trainer {
namespace {

constexpr uint8_t kWeighed = 1;
constexpr uint8_t kUnweighed = 2;

size_t bit_bytes(int count) { return (static_cast<size_t>(count) + 7) / 8; }

void put_bits(std::vector<uint8_t>& bytes, size_t at, const std::vector<bool>& bits) {
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) bytes[at + i / 8] |= static_cast<uint8_t>(1U << (i % 8));
  }
}

std::vector<bool> get_bits(const std::vector<uint8_t>& bytes, size_t at, int count) {
  std::vector<bool> bits(static_cast<size_t>(count));
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = (bytes[at + i / 8] >> (i % 8) & 1U) != 0;
  return bits;
}

constexpr size_t kTimesBytes = 8;  // of a rank

void put_number(std::vector<uint8_t>& bytes, size_t at, int64_t number) {
  const auto value = static_cast<uint32_t>(std::clamp<int64_t>(number, 0, UINT32_MAX));
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

int64_t get_number(const std::vector<uint8_t>& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= static_cast<uint32_t>(bytes[at + i]) << (8 * i);
  return value;
}

size_t idle_begin(StepRecordShape shape) { return 1 + bit_bytes(shape.world_size); }
size_t used_begin(StepRecordShape shape) { return idle_begin(shape) + bit_bytes(shape.world_size); }
size_t times_begin(StepRecordShape shape) { return used_begin(shape) + bit_bytes(shape.parameter_count); }

}  // namespace

std::string StepRecord::failed_ranks() const {
  std::string text;
  for (size_t rank = 0; rank < failed.size(); ++rank) {
    if (failed[rank]) text += (text.empty() ? "rank " : ", rank ") + std::to_string(rank);
  }
  return text;
}

int StepRecord::first_with_data() const {
  const auto first = std::ranges::find(idle, false);
  return first == idle.end() ? -1 : static_cast<int>(first - idle.begin());
}

int64_t record_bytes(StepRecordShape shape) {
  return static_cast<int64_t>(times_begin(shape) + kTimesBytes * static_cast<size_t>(shape.world_size));
}

std::vector<uint8_t> encode(const StepRecord& record, StepRecordShape shape) {
  std::vector<uint8_t> bytes(static_cast<size_t>(record_bytes(shape)), 0);
  bytes[0] = static_cast<uint8_t>((record.weighed ? kWeighed : 0) | (record.unweighed ? kUnweighed : 0));
  put_bits(bytes, 1, record.failed);
  put_bits(bytes, idle_begin(shape), record.idle);
  put_bits(bytes, used_begin(shape), record.used);
  for (size_t rank = 0; rank < record.times.size(); ++rank) {
    const size_t at = times_begin(shape) + kTimesBytes * rank;
    put_number(bytes, at, record.times[rank].first_gradient_us);
    put_number(bytes, at + 4, record.times[rank].last_gradient_us);
  }
  return bytes;
}

StepRecord decode_step_record(const std::vector<uint8_t>& bytes, StepRecordShape shape) {
  std::vector<RankTimes> times;
  for (size_t rank = 0; rank < static_cast<size_t>(shape.world_size); ++rank) {
    const size_t at = times_begin(shape) + kTimesBytes * rank;
    times.push_back({.first_gradient_us = get_number(bytes, at), .last_gradient_us = get_number(bytes, at + 4)});
  }
  return {.weighed = (bytes[0] & kWeighed) != 0,
          .unweighed = (bytes[0] & kUnweighed) != 0,
          .failed = get_bits(bytes, 1, shape.world_size),
          .idle = get_bits(bytes, idle_begin(shape), shape.world_size),
          .used = get_bits(bytes, used_begin(shape), shape.parameter_count),
          .times = std::move(times)};
}

}  // namespace rondo::trainer
