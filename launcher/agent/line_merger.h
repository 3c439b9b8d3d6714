/// Makes one line of the same line from several ranks. The order of each rank's lines stays as it was.
///
///   ranks 0, 1, 2 write:  loaded | loaded | loaded, loss 0.3     becomes:  [ranks 0-2] loaded   [rank 2] loss 0.3
///
/// Every line waits up to a window for the others; so output is later by at most that.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/agent/console.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

struct MergedLine {
  std::vector<int> ranks;  // ascending
  Channel channel = Channel::kOutput;
  std::string text;
  comm::TimePoint since;  // when the first of them came
};

class LineMerger {
 public:
  using Emit = std::function<void(const MergedLine&)>;

  static constexpr std::chrono::milliseconds kWindow{300};
  static constexpr size_t kMostWaiting = 1024;

  explicit LineMerger(int ranks) : last_(static_cast<size_t>(ranks)) {}

  void add(int rank, Channel channel, std::string_view text, comm::TimePoint now, const Emit& emit);
  /// When flush_due() has something to do; empty: never.
  std::optional<comm::TimePoint> due() const;
  void flush_due(comm::TimePoint now, const Emit& emit);
  void flush_all(const Emit& emit);

 private:
  void emit_first(const Emit& emit);
  void emit_complete(const Emit& emit);

  std::deque<MergedLine> waiting_;
  size_t first_ = 0;                         // the number of waiting_[0]; numbers go on for ever
  std::vector<std::array<size_t, 2>> last_;  // by rank and channel: one above the number of its last line
};

}  // namespace rondo::launcher
