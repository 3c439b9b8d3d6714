#include "launcher/cli/torchrun_values.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <sstream>

namespace rondo::launcher {
namespace {

comm::Status wrong(std::string message) { return {comm::Code::kInvalidArgument, std::move(message)}; }

std::optional<int64_t> whole(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

}  // namespace

comm::Result<std::vector<Streams>> parse_streams(const std::string& flag, const std::string& text, int ranks) {
  const auto bad = [&] {
    return wrong(flag + " " + text + ": 0 none, 1 stdout, 2 stderr, 3 both; or by local rank, such as 0:1,1:3");
  };
  const auto streams_of = [](int64_t number) {
    return Streams{.output = (number & 1) != 0, .errors = (number & 2) != 0};
  };
  if (const auto number = whole(text); number) {
    if (*number < 0 || *number > 3) return bad();
    return std::vector<Streams>(static_cast<size_t>(ranks), streams_of(*number));
  }
  std::vector<Streams> streams(static_cast<size_t>(ranks));
  const std::vector<std::string> parts = split(text, ',');
  if (parts.empty()) return bad();
  for (const std::string& part : parts) {
    const size_t colon = std::min(part.find(':'), part.size());
    const auto rank = whole(part.substr(0, colon));
    const auto number = colon < part.size() ? whole(part.substr(colon + 1)) : std::nullopt;
    if (!rank || !number || *number < 0 || *number > 3) return bad();
    if (*rank < 0 || *rank >= ranks)
      return wrong(flag + " " + text + ": there is no local rank " + std::to_string(*rank) + " among " +
                   std::to_string(ranks));
    streams[static_cast<size_t>(*rank)] = streams_of(*number);
  }
  return streams;
}

comm::Result<std::set<int>> parse_rank_set(const std::string& text, int ranks) {
  std::set<int> set;
  for (const std::string& part : split(text, ',')) {
    const auto rank = whole(part);
    if (!rank) return wrong("--local-ranks-filter " + text + ": local ranks with commas between, such as 0,2");
    if (*rank < 0 || *rank >= ranks)
      return wrong("--local-ranks-filter " + text + ": there is no local rank " + part + " among " +
                   std::to_string(ranks));
    set.insert(static_cast<int>(*rank));
  }
  return set;
}

comm::Result<std::set<int>> parse_shown(const std::string& text, int ranks) {
  std::set<int> shown;
  if (text == "failed") return shown;
  if (text == "first") return std::set<int>{0};
  if (text == "all") {
    for (int rank = 0; rank < ranks; ++rank) shown.insert(shown.end(), rank);
    return shown;
  }
  for (const std::string& part : split(text, ',')) {
    const size_t dash = part.find('-');
    const auto from = whole(part.substr(0, dash));
    const auto to = dash == std::string::npos ? from : whole(part.substr(dash + 1));
    if (!from || !to || *from > *to)
      return wrong("--show " + text + ": there are all, first, failed, and ranks such as 0,3-5");
    if (*from < 0 || *to >= ranks)
      return wrong("--show " + text + ": of " + part + " not every rank is among " + std::to_string(ranks));
    for (auto rank = *from; rank <= *to; ++rank) shown.insert(static_cast<int>(rank));
  }
  return shown;
}

comm::Result<NodeCount> parse_nodes(const std::string& text) {
  const size_t colon = text.find(':');
  const auto least = whole(text.substr(0, colon));
  const auto most = colon == std::string::npos ? least : whole(text.substr(colon + 1));
  if (!least || !most || *least < 1 || *most < *least || *most > 1 << 20)
    return wrong("--nnodes " + text + ": the number of hosts, or MIN:MAX, from 1 on");
  return NodeCount{.least = static_cast<int>(*least), .most = static_cast<int>(*most)};
}

comm::Result<std::vector<int>> parse_signals(const std::string& text) {
  struct Known {
    const char* name;
    int number;
  };
  static constexpr std::array kKnown{Known{"SIGTERM", SIGTERM}, Known{"SIGINT", SIGINT}, Known{"SIGHUP", SIGHUP},
                                     Known{"SIGQUIT", SIGQUIT}};
  std::vector<int> signals;
  for (const std::string& name : split(text, ',')) {
    if (name == "SIGUSR1" || name == "SIGUSR2")
      return wrong("--signals-to-handle: " + name +
                   " has the ranks save a checkpoint (USR1) or shows their stacks (USR2), it does not stop them");
    const auto* known = std::ranges::find_if(kKnown, [&](const Known& at) { return name == at.name; });
    if (known == kKnown.end())
      return wrong("--signals-to-handle " + text + ": '" + name + "' is none of SIGTERM, SIGINT, SIGHUP, SIGQUIT");
    if (std::ranges::find(signals, known->number) == signals.end()) signals.push_back(known->number);
  }
  return signals;
}

comm::Result<HostPort> parse_host_port(const std::string& flag, const std::string& text) {
  const size_t bracket = text.rfind(']');
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || (bracket != std::string::npos && colon < bracket)) return HostPort{.host = text};
  const auto port = whole(text.substr(colon + 1));
  if (!port || *port < 0 || *port > 65535 || colon == 0) return wrong(flag + " " + text + ": HOST or HOST:PORT");
  return HostPort{.host = text.substr(0, colon), .port = static_cast<int>(*port)};
}

comm::Result<int64_t> parse_number(const std::string& flag, const std::string& text, NumberRange range) {
  const auto number = whole(text);
  if (number && *number >= range.least && *number <= range.most) return *number;
  return wrong(flag + " " + text + ": a whole number from " + std::to_string(range.least) + " to " +
               std::to_string(range.most));
}

comm::Result<uint64_t> parse_bytes(const std::string& flag, const std::string& text) {
  struct Unit {
    const char* name;
    uint64_t bytes;
  };
  static constexpr std::array kUnits{Unit{"", 1},
                                     Unit{"B", 1},
                                     Unit{"KB", 1'000},
                                     Unit{"MB", 1'000'000},
                                     Unit{"GB", 1'000'000'000},
                                     Unit{"KiB", 1ull << 10},
                                     Unit{"MiB", 1ull << 20},
                                     Unit{"GiB", 1ull << 30}};
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  const auto* unit = std::ranges::find_if(kUnits, [&](const Unit& at) { return rest == at.name; });
  if (error != std::errc() || unit == kUnits.end() || number > (uint64_t{1} << 62) / unit->bytes)
    return wrong(flag + " " + text + ": a number and a unit, such as 64MiB; 0 for no limit");
  return number * unit->bytes;
}

}  // namespace rondo::launcher
