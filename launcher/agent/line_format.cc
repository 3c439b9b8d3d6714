#include "launcher/agent/line_format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

constexpr std::array kNames{std::pair{"none", Prefix::kNone}, std::pair{"rank", Prefix::kRank},
                            std::pair{"full", Prefix::kFull}, std::pair{"json", Prefix::kJson}};

const char* name_of(Channel channel) { return channel == Channel::kOutput ? "stdout" : "stderr"; }

/// "2025-01-31T12:00:00.123Z".
std::string utc(std::chrono::system_clock::time_point time) {
  const auto since = time.time_since_epoch();
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(since).count();
  const auto rest = std::chrono::floor<std::chrono::milliseconds>(since) - std::chrono::seconds(seconds);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof text - length, ".%03dZ", static_cast<int>(rest.count()));
  return text;
}

std::string who(const std::vector<int>& ranks) { return (ranks.size() == 1 ? "rank " : "ranks ") + rank_ranges(ranks); }

std::string json_line(const LineFacts& facts, std::string_view text) {
  nlohmann::ordered_json line;
  line["time"] = utc(facts.time);
  line["host"] = facts.host;
  if (facts.ranks.size() == 1) {
    line["rank"] = facts.ranks[0];
  } else {
    line["ranks"] = facts.ranks;
  }
  line["stream"] = name_of(facts.channel);
  line["line"] = text;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string coloured(std::string prefix, int rank) {
  constexpr std::array kColours{"36", "33", "32", "35", "34", "31"};  // readable on dark and on light ground
  return "\x1b[" + std::string(kColours[static_cast<size_t>(rank) % kColours.size()]) + "m" + std::move(prefix) +
         "\x1b[0m";
}

bool is_set(const char* variable) { return variable != nullptr && *variable != '\0'; }

}  // namespace

std::optional<Prefix> prefix_of(std::string_view name) {
  for (const auto& [known, prefix] : kNames) {
    if (name == known) return prefix;
  }
  return std::nullopt;
}

std::string rank_ranges(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size();) {
    size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(ranks[i]);
    if (last > i) text += "-" + std::to_string(ranks[last]);
    i = last + 1;
  }
  return text;
}

std::string fill_prefix(std::string_view text, const PrefixFacts& facts) {
  using Known = std::pair<std::string_view, std::string_view>;
  const std::array<Known, 3> known{
      {{"role_name", facts.role_name}, {"rank", facts.rank}, {"local_rank", facts.local_rank}}};
  const auto in_name = [](char letter) {
    return letter == '_' || std::isalnum(static_cast<unsigned char>(letter)) != 0;
  };
  std::string filled;
  while (!text.empty()) {
    const size_t dollar = std::min(text.find('$'), text.size());
    filled.append(text.substr(0, dollar));
    text.remove_prefix(dollar);
    if (text.empty()) break;
    const bool braced = text.size() > 1 && text[1] == '{';
    const size_t begin = braced ? 2 : 1;
    size_t end = begin;
    while (end < text.size() && in_name(text[end])) ++end;
    const std::string_view name = text.substr(begin, end - begin);
    const auto* const found = std::ranges::find(known, name, &Known::first);
    const bool whole = found != known.end() && (!braced || (end < text.size() && text[end] == '}'));
    if (whole) {
      filled += found->second;
      text.remove_prefix(braced ? end + 1 : end);
    } else {
      filled += '$';
      text.remove_prefix(text.starts_with("$$") ? 2 : 1);
    }
  }
  return filled;
}

std::string format_line(Prefix prefix, Colour colour, const LineFacts& facts, std::string_view text) {
  if (prefix == Prefix::kJson) return json_line(facts, text);
  if (prefix == Prefix::kNone) return printable(text);
  std::string label = "[" + who(facts.ranks) + "]";
  if (prefix == Prefix::kFull)
    label = "[" + utc(facts.time) + " " + printable(facts.host) + " " + who(facts.ranks) + " " +
            name_of(facts.channel) + "]";
  if (colour == Colour::kByRank) label = coloured(std::move(label), facts.ranks.front());
  return label + " " + printable(text);
}

Colour colour_for(const ColourWishes& wishes) {
  if (is_set(wishes.no_color)) return Colour::kNone;
  if (is_set(wishes.clicolor_force) && std::string_view(wishes.clicolor_force) != "0") return Colour::kByRank;
  const bool terminal = wishes.stream == ColourWishes::Stream::kTerminal;
  return terminal && is_set(wishes.term) && std::string_view(wishes.term) != "dumb" ? Colour::kByRank : Colour::kNone;
}

}  // namespace rondo::launcher
