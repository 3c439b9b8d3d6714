/// What of the ranks' output is shown, and how: prefixes, colours, hidden streams, equal lines as one. Main thread
/// only.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/agent/console.h"
#include "launcher/agent/line_format.h"
#include "launcher/agent/line_merger.h"

namespace rondo::launcher {

struct DisplayOptions {
  std::optional<Prefix> prefix;                                              // empty: the rank, if there are several
  enum class RankZero { kPrefixed, kBare } rank_zero = RankZero::kPrefixed;  // stdout of rank 0, without a wish above
  enum class EqualLines { kSeparate, kCollapsed } equal_lines = EqualLines::kSeparate;
  /// torchrun's template of prefixes (fill_prefix), where `prefix` has no wish; empty: none.
  struct Template {
    std::string text, role;
  } prefix_template;
  std::set<std::pair<int, Channel>> hidden;  // streams that only the logs get
  std::optional<std::set<int>> shown;        // ranks whose output is shown; empty: all
};

class Display {
 public:
  /// Where a rank of the job runs, and its number there.
  struct Place {
    std::string host;
    int local_rank = 0;
  };
  Display(Console& console, DisplayOptions options, std::vector<Place> places);

  /// A line that a rank wrote, as it is.
  void line(int rank, Channel channel, std::string_view text, comm::TimePoint now);
  /// A line that a rank says to people: without a prefix, unless all output is JSON.
  void say(int rank, std::string_view text);
  std::optional<comm::TimePoint> due() const { return merger_ ? merger_->due() : std::nullopt; }
  void flush_due(comm::TimePoint now);
  void flush_all();

 private:
  std::string filled_prefix(const std::vector<int>& ranks) const;
  void show(const std::vector<int>& ranks, Channel channel, std::string_view text);
  LineMerger::Emit show_merged();

  Console& console_;
  const DisplayOptions options_;
  const std::vector<Place> places_;  // by rank
  const Colour output_colour_, error_colour_;
  std::optional<LineMerger> merger_;  // when equal lines are collapsed
};

}  // namespace rondo::launcher
