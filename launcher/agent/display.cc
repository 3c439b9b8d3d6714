#include "launcher/agent/display.h"

#include <unistd.h>

#include <cstdlib>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

std::string filled_prefix(const DisplayOptions& options, const std::vector<RankPlace>& places,
                          const std::vector<int>& ranks) {
  std::vector<int> local;
  for (const int rank : ranks) local.push_back(places[static_cast<size_t>(rank)].local_rank);
  return fill_prefix(
      options.prefix_template.text,
      {.role_name = options.prefix_template.role, .rank = rank_ranges(ranks), .local_rank = rank_ranges(local)});
}

LineFacts facts_of(const std::vector<RankPlace>& places, const ShownLine& line) {
  return {.ranks = line.ranks,
          .channel = line.channel,
          .time = line.time,
          .host = places[static_cast<size_t>(line.ranks.front())].host};
}

}  // namespace

std::string shown_line(const DisplayOptions& options, const std::vector<RankPlace>& places, const ShownLine& line,
                       std::string_view text) {
  const bool bare = line.channel == Channel::kOutput && line.ranks.front() == 0 && line.ranks.size() == 1 &&
                    options.rank_zero == DisplayOptions::RankZero::kBare;
  if (!options.prefix && !options.prefix_template.text.empty() && !bare)
    return filled_prefix(options, places, line.ranks) + printable(text);
  const Prefix usual = places.size() > 1 && !bare ? Prefix::kRank : Prefix::kNone;
  return format_line(options.prefix.value_or(usual), line.colour, facts_of(places, line), text);
}

std::string shown_saying(const DisplayOptions& options, const std::vector<RankPlace>& places, const ShownLine& line,
                         std::string_view text) {
  const Prefix prefix = options.prefix == Prefix::kJson ? Prefix::kJson : Prefix::kNone;
  return format_line(prefix, Colour::kNone, facts_of(places, line), text);
}

Colour colour_of(int fd) {
  using Stream = ColourWishes::Stream;
  return colour_for({.no_color = std::getenv("NO_COLOR"),
                     .clicolor_force = std::getenv("CLICOLOR_FORCE"),
                     .term = std::getenv("TERM"),
                     .stream = ::isatty(fd) == 1 ? Stream::kTerminal : Stream::kOther});
}

Display::Display(Console& console, DisplayOptions options, std::vector<Place> places)
    : console_(console),
      options_(std::move(options)),
      places_(std::move(places)),
      output_colour_(colour_of(STDOUT_FILENO)),
      error_colour_(colour_of(STDERR_FILENO)) {
  if (options_.equal_lines == DisplayOptions::EqualLines::kCollapsed && places_.size() > 1)
    merger_.emplace(static_cast<int>(places_.size()));
}

void Display::line(int rank, Channel channel, std::string_view text, comm::TimePoint now) {
  if (options_.hidden.contains({rank, channel}) || (options_.shown && !options_.shown->contains(rank))) return;
  if (merger_) {
    merger_->add(rank, channel, text, now, show_merged());
  } else {
    show({rank}, channel, text);
  }
}

void Display::say(int rank, std::string_view text) {
  console_.line(
      Channel::kOutput,
      shown_saying(options_, places_,
                   {.ranks = {rank}, .channel = Channel::kOutput, .time = std::chrono::system_clock::now()}, text));
}

void Display::flush_due(comm::TimePoint now) {
  if (merger_) merger_->flush_due(now, show_merged());
}

void Display::flush_all() {
  if (merger_) merger_->flush_all(show_merged());
}

LineMerger::Emit Display::show_merged() {
  return [this](const MergedLine& line) { show(line.ranks, line.channel, line.text); };
}

void Display::show(const std::vector<int>& ranks, Channel channel, std::string_view text) {
  console_.line(channel, shown_line(options_, places_,
                                    {.ranks = ranks,
                                     .channel = channel,
                                     .time = std::chrono::system_clock::now(),
                                     .colour = channel == Channel::kOutput ? output_colour_ : error_colour_},
                                    text));
}

}  // namespace rondo::launcher
