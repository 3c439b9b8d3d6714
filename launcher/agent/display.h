/// What of the ranks' output is shown, and how: prefixes, colours, hidden streams, equal lines as one. Main thread
/// only.
#pragma once

#include <chrono>
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

/// How a run with these options shows a line of one of its ranks, or of several that wrote the same. Pure.
struct RankPlace {  // where a rank of the job runs, and its number there
  std::string host;
  int local_rank = 0;
};
struct ShownLine {
  std::vector<int> ranks;  // ascending
  Channel channel = Channel::kOutput;
  std::chrono::system_clock::time_point time;
  Colour colour = Colour::kNone;
};
std::string shown_line(const DisplayOptions& options, const std::vector<RankPlace>& places, const ShownLine& line,
                       std::string_view text);
/// The same for a line that a rank says to people: without a prefix, unless all output is JSON.
std::string shown_saying(const DisplayOptions& options, const std::vector<RankPlace>& places, const ShownLine& line,
                         std::string_view text);

/// What the stream `fd` of this process and the environment say about colours.
Colour colour_of(int fd);

class Display {
 public:
  using Place = RankPlace;
  Display(Console& console, DisplayOptions options, std::vector<Place> places);

  /// A line that a rank wrote, as it is.
  void line(int rank, Channel channel, std::string_view text, comm::TimePoint now);
  /// A line that a rank says to people.
  void say(int rank, std::string_view text);
  std::optional<comm::TimePoint> due() const { return merger_ ? merger_->due() : std::nullopt; }
  void flush_due(comm::TimePoint now);
  void flush_all();

 private:
  void show(const std::vector<int>& ranks, Channel channel, std::string_view text);
  LineMerger::Emit show_merged();

  Console& console_;
  const DisplayOptions options_;
  const std::vector<Place> places_;  // by rank
  const Colour output_colour_, error_colour_;
  std::optional<LineMerger> merger_;  // when equal lines are collapsed
};

}  // namespace rondo::launcher
