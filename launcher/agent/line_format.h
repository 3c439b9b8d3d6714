/// How a rank's line looks on the launcher's stdout or stderr. Pure functions.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/agent/console.h"

namespace rondo::launcher {

enum class Prefix {
  kNone,  // the line alone
  kRank,  // [rank 1] line
  kFull,  // [2025-01-31T12:00:00.123Z node7 rank 1 stderr] line
  kJson,  // {"time":"...","host":"node7","rank":1,"stream":"stderr","line":"..."}
};

/// "none", "rank", "full", "json".
std::optional<Prefix> prefix_of(std::string_view name);

enum class Colour { kNone, kByRank };

struct LineFacts {
  std::vector<int> ranks;  // who wrote it, ascending; several when lines are collapsed
  Channel channel = Channel::kOutput;
  std::chrono::system_clock::time_point time;
  std::string_view host;
};

/// Control characters of `text` are escaped, so that it cannot steer a terminal.
std::string format_line(Prefix prefix, Colour colour, const LineFacts& facts, std::string_view text);

/// What torchrun's TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE may name, as text.
struct PrefixFacts {
  std::string role_name, rank, local_rank;
};
/// `text` with ${role_name}, ${rank} and ${local_rank} filled in by the rules of Python's string.Template: also $rank,
/// $$ is a dollar, and what is unknown stays.
std::string fill_prefix(std::string_view text, const PrefixFacts& facts);

/// "3", "0-3,5".
std::string rank_ranges(const std::vector<int>& ranks);

/// What decides about colours: the variables NO_COLOR, CLICOLOR_FORCE and TERM (null: not set), and what the stream is.
struct ColourWishes {
  const char* no_color = nullptr;
  const char* clicolor_force = nullptr;
  const char* term = nullptr;
  enum class Stream { kTerminal, kOther } stream = Stream::kOther;
};
Colour colour_for(const ColourWishes& wishes);

}  // namespace rondo::launcher
