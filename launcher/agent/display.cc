#include "launcher/agent/display.h"

#include <unistd.h>

#include <cstdlib>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

Colour colour_of(int fd) {
  using Stream = ColourWishes::Stream;
  return colour_for({.no_color = std::getenv("NO_COLOR"),
                     .clicolor_force = std::getenv("CLICOLOR_FORCE"),
                     .term = std::getenv("TERM"),
                     .stream = ::isatty(fd) == 1 ? Stream::kTerminal : Stream::kOther});
}

}  // namespace

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
  const Prefix prefix = options_.prefix == Prefix::kJson ? Prefix::kJson : Prefix::kNone;
  console_.line(Channel::kOutput, format_line(prefix, Colour::kNone,
                                              {.ranks = {rank},
                                               .channel = Channel::kOutput,
                                               .time = std::chrono::system_clock::now(),
                                               .host = places_[static_cast<size_t>(rank)].host},
                                              text));
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

std::string Display::filled_prefix(const std::vector<int>& ranks) const {
  std::vector<int> local;
  for (const int rank : ranks) local.push_back(places_[static_cast<size_t>(rank)].local_rank);
  return fill_prefix(
      options_.prefix_template.text,
      {.role_name = options_.prefix_template.role, .rank = rank_ranges(ranks), .local_rank = rank_ranges(local)});
}

void Display::show(const std::vector<int>& ranks, Channel channel, std::string_view text) {
  const bool bare = channel == Channel::kOutput && ranks.front() == 0 && ranks.size() == 1 &&
                    options_.rank_zero == DisplayOptions::RankZero::kBare;
  if (!options_.prefix && !options_.prefix_template.text.empty() && !bare)
    return console_.line(channel, filled_prefix(ranks) + printable(text));
  const Prefix usual = places_.size() > 1 && !bare ? Prefix::kRank : Prefix::kNone;
  const Colour colour = channel == Channel::kOutput ? output_colour_ : error_colour_;
  console_.line(channel, format_line(options_.prefix.value_or(usual), colour,
                                     {.ranks = ranks,
                                      .channel = channel,
                                      .time = std::chrono::system_clock::now(),
                                      .host = places_[static_cast<size_t>(ranks.front())].host},
                                     text));
}

}  // namespace rondo::launcher
