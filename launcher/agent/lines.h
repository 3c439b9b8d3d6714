/// Cuts a worker's output into lines, so that lines of several ranks never mix.
///
/// A line that stays unfinished for 200 ms is shown as far as it is; what follows becomes a line of its own. Frames
/// that overwrite each other by carriage returns (progress bars) count as one line whose last frame is shown, when
/// unfinished at most every 10 s. UTF-8 characters are never cut.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "rondo/comm/deadline.h"

namespace rondo::launcher {

class LineAssembler {
 public:
  using Emit = std::function<void(std::string_view line)>;

  static constexpr std::chrono::milliseconds kPartialAfter{200};
  static constexpr std::chrono::seconds kFrameAfter{10};
  static constexpr size_t kLongestLineBytes = 64 * 1024;

  /// Emits the lines that `bytes` complete, without their newline.
  void feed(std::string_view bytes, comm::TimePoint now, const Emit& emit);
  /// When flush_stale() has something to do; empty: never.
  std::optional<comm::TimePoint> stale_at() const;
  void flush_stale(comm::TimePoint now, const Emit& emit);
  /// More of the line is on its way: it is not stale before it could be read.
  void postpone(comm::TimePoint now) { since_ = now; }
  /// The stream ended: emits what is left.
  void finish(const Emit& emit);

 private:
  void emit_pending(size_t byte_count, const Emit& emit);

  std::string pending_;      // since the last newline
  comm::TimePoint since_{};  // when pending_ got its first byte
};

}  // namespace rondo::launcher
