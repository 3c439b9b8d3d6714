/// Lines on their way to a terminal that may be slow: what does not fit any more is counted instead, so that a terminal
/// that reads nothing costs the run a bounded amount of memory and no time. Pure; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "proto/control.pb.h"

namespace rondo::launcher {

class LineQueue {
 public:
  static constexpr size_t kMostBytes = 1 << 20;
  static constexpr size_t kBatchBytes = 64 * 1024;  // of one message

  void put(control::LogLine line) {
    const size_t bytes = bytes_of(line);
    if (bytes_ > 0 && bytes_ + bytes > kMostBytes) {
      if (lines_.back().skipped() == 0) lines_.emplace_back();
      lines_.back().set_skipped(lines_.back().skipped() + 1);
      return;
    }
    bytes_ += bytes;
    lines_.push_back(std::move(line));
  }
  bool empty() const { return lines_.empty(); }
  /// The next lines, at least one. Not when empty().
  control::LogLines take() {
    control::LogLines batch;
    size_t bytes = 0;
    while (!lines_.empty() && (bytes == 0 || bytes + bytes_of(lines_.front()) <= kBatchBytes)) {
      bytes += bytes_of(lines_.front());
      if (lines_.front().skipped() == 0) bytes_ -= bytes_of(lines_.front());
      *batch.add_lines() = std::move(lines_.front());
      lines_.pop_front();
    }
    return batch;
  }

 private:
  static size_t bytes_of(const control::LogLine& line) { return line.text().size() + 48; }

  std::deque<control::LogLine> lines_;
  size_t bytes_ = 0;  // of those that are lines
};

}  // namespace rondo::launcher
