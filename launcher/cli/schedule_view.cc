#include "launcher/cli/schedule_view.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "launcher/base/text.h"
#include "rondo/comm/algorithms.h"

namespace rondo::launcher {
namespace {

using comm::Action;
using comm::ActionKind;
using comm::Finality;
using comm::Place;
using comm::Range;
using comm::Schedule;
using comm::Space;
using comm::Wire;

constexpr int64_t kFloat32Bytes = 4;
constexpr int64_t kNarrowBytes = 2;

bool touches(const std::vector<Place>& places, const Place& place) {
  return std::ranges::any_of(places, [&](const Place& other) {
    return other.rank == place.rank && other.space == place.space && other.range.begin < place.range.end &&
           place.range.begin < other.range.end;
  });
}

/// From a place whose elements need no tracing.
std::optional<Range> direct_elements(const Schedule& schedule, const Action& action) {
  for (const auto* places : {&action.to, &action.from}) {
    for (const Place& place : *places) {
      if (place.space == Space::kData) return place.range;
      if (place.space != Space::kResult) continue;
      const int64_t first = comm::chunk_of(schedule.element_count, schedule.at.world_size, schedule.at.rank).begin;
      return Range{.begin = first + place.range.begin, .end = first + place.range.end};
    }
  }
  return std::nullopt;
}

/// The next action that reads what `action` stored.
std::optional<size_t> next_reader(const Schedule& schedule, size_t index, const Place& stored) {
  for (size_t next = index + 1; next < schedule.actions.size(); ++next) {
    const Action& action = schedule.actions[next];
    if (action.kind != ActionKind::kSend && touches(action.from, stored)) return next;
    if (touches(action.to, stored)) return std::nullopt;
  }
  return std::nullopt;
}

std::optional<size_t> last_writer(const Schedule& schedule, size_t index, const Place& read) {
  while (index-- > 0) {
    if (touches(schedule.actions[index].to, read)) return index;
  }
  return std::nullopt;
}

std::string text(Range range) { return "[" + std::to_string(range.begin) + ", " + std::to_string(range.end) + ")"; }

/// "1, 2 and 5", or "all others".
std::string peers_text(const std::vector<int>& peers, int world_size) {
  if (world_size > 3 && static_cast<int>(peers.size()) == world_size - 1) return "all others";
  std::string words;
  for (size_t i = 0; i < peers.size(); ++i) {
    words += (i == 0 ? "" : i + 1 == peers.size() ? " and " : ", ") + std::to_string(peers[i]);
  }
  return words;
}

/// One thing that a rank does in a hop, maybe several times over neighbouring ranges, or for several peers.
struct Entry {
  std::string verb;
  Range range;
  std::vector<int> peers;
  size_t times = 1;
};

/// A column of one rank in one hop.
class Entries {
 public:
  void add(const std::string& verb, Range range, int peer) {
    for (auto at = entries_.rbegin(); at != entries_.rend(); ++at) {
      if (at->verb != verb || at->peers[0] != peer || at->range.end != range.begin) continue;
      at->range.end = range.end;
      ++at->times;
      return;
    }
    entries_.push_back({.verb = verb, .range = range, .peers = {peer}});
  }

  std::string text(const std::string& preposition, int world_size) const {
    constexpr size_t kMost = 4;
    std::string words;
    const std::vector<Entry> joined = joined_peers();
    for (size_t i = 0; i < joined.size(); ++i) {
      if (i + 1 == kMost && joined.size() > kMost) {
        return words + "; and " + std::to_string(joined.size() - i) + " more";
      }
      const Entry& entry = joined[i];
      words += (words.empty() ? "" : "; ") + entry.verb;
      if (entry.range.count() > 0) words += (entry.verb.empty() ? "" : " ") + launcher::text(entry.range);
      if (entry.peers[0] >= 0) words += preposition + peers_text(entry.peers, world_size);
      if (entry.times > 1) words += " in " + std::to_string(entry.times) + " parts";
    }
    return words;
  }

 private:
  std::vector<Entry> joined_peers() const {
    std::vector<Entry> joined;
    for (const Entry& entry : entries_) {
      const auto same = std::ranges::find_if(joined, [&](const Entry& other) {
        return other.verb == entry.verb && other.range == entry.range && other.times == entry.times;
      });
      if (same == joined.end()) {
        joined.push_back(entry);
      } else {
        same->peers.insert(same->peers.end(), entry.peers.begin(), entry.peers.end());
      }
    }
    for (Entry& entry : joined) std::ranges::sort(entry.peers);
    return joined;
  }

  std::vector<Entry> entries_;
};

struct Row {
  Entries sends, receives, computes;
};

std::string reduce_verb(const Action& action) {
  std::string verb = action.finality == Finality::kFinal ? "final sum of " : "sum of ";
  verb += std::to_string(action.from.size());
  return action.to.size() > 1 ? verb + ", stored to " + std::to_string(action.to.size()) + " ranks," : verb;
}

std::string copy_verb(const Action& action) {
  const bool from_wire = action.from[0].space == Space::kWire;
  if (from_wire == (action.to[0].space == Space::kWire)) return "copy";
  return from_wire ? "widen" : "round";
}

void add(Row& row, const Action& action, Range range) {
  switch (action.kind) {
    case ActionKind::kSend:
      return row.sends.add("", range, action.peer);
    case ActionKind::kReceive:
      return row.receives.add("", range, action.peer);
    case ActionKind::kSignal:
      return row.sends.add("signal " + std::to_string(action.value), {}, action.peer);
    case ActionKind::kWait:
      return row.receives.add("signal " + std::to_string(action.value), {}, action.peer);
    case ActionKind::kReduce:
      return row.computes.add(reduce_verb(action), range, -1);
    case ActionKind::kCopy:
      return row.computes.add(copy_verb(action), range, -1);
    case ActionKind::kScale:
      return row.computes.add("divide", range, -1);
  }
}

/// Lines of cells, headings first, in columns as wide as their widest cell; a column without cells is left out.
std::string in_columns(std::vector<std::vector<std::string>> lines) {
  for (size_t column = lines[0].size(); column-- > 0;) {
    if (std::any_of(lines.begin() + 1, lines.end(), [&](const auto& line) { return !line[column].empty(); })) continue;
    for (auto& line : lines) line.erase(line.begin() + static_cast<ptrdiff_t>(column));
  }
  std::vector<size_t> widths(lines[0].size(), 0);
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string table;
  for (const auto& line : lines) {
    std::string words = " ";
    for (size_t i = 0; i < line.size(); ++i) words += " " + line[i] + std::string(widths[i] - line[i].size() + 1, ' ');
    words.erase(words.find_last_not_of(' ') + 1);
    table += words + "\n";
  }
  return table;
}

/// What one rank moves. Regions: elements of other ranks' memory.
struct Traffic {
  int64_t messages = 0;
  int64_t sent = 0;
  int64_t read = 0;
  int64_t stored = 0;
  int64_t bytes = 0;
};

Traffic traffic_of(const Schedule& schedule) {
  Traffic traffic;
  for (const Action& action : schedule.actions) {
    if (action.kind == ActionKind::kSend) {
      const int64_t count = action.from[0].range.count();
      const bool narrow = action.from[0].space == Space::kWire && schedule.wire == Wire::kNarrow;
      ++traffic.messages;
      traffic.sent += count;
      traffic.bytes += count * (narrow ? kNarrowBytes : kFloat32Bytes);
    }
    for (const Place& place : action.from) traffic.read += place.rank != schedule.at.rank ? place.range.count() : 0;
    for (const Place& place : action.to) traffic.stored += place.rank != schedule.at.rank ? place.range.count() : 0;
  }
  traffic.bytes += (traffic.read + traffic.stored) * kFloat32Bytes;
  return traffic;
}

std::string totals(const std::vector<Schedule>& ranks) {
  Traffic all;
  std::vector<Traffic> each;
  for (const Schedule& schedule : ranks) {
    const Traffic& own = each.emplace_back(traffic_of(schedule));
    all.messages += own.messages;
    all.bytes += own.bytes;
    all.read += own.read;
  }
  const bool by_regions = all.read > 0;
  std::vector<std::vector<std::string>> lines;
  if (by_regions) {
    lines.push_back({"rank", "read from others", "stored to others", "bytes moved"});
  } else {
    lines.push_back({"rank", "messages", "elements sent", "bytes sent", "scratch"});
  }
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const Traffic& own = each[rank];
    std::vector<std::string>& line = lines.emplace_back();
    line.push_back(std::to_string(rank));
    const int64_t scratch = ranks[rank].scratch_elements + ranks[rank].wire_elements;
    const auto numbers = by_regions ? std::vector{own.read, own.stored, own.bytes}
                                    : std::vector{own.messages, own.sent, own.bytes, scratch};
    for (const int64_t number : numbers) line.push_back(std::to_string(number));
  }
  return "total\n" + in_columns(lines) + "all ranks: " + counted(static_cast<size_t>(all.messages), "message") + ", " +
         std::to_string(all.bytes) + " bytes in float32" +
         (ranks[0].wire == Wire::kNarrow ? " with 16 bits on the wire" : "") + ", " +
         counted(static_cast<size_t>(ranks[0].hop_count), "hop") + "\n";
}

std::string title(const std::vector<Schedule>& ranks) {
  const Schedule& first = ranks[0];
  std::string words = std::string(first.algorithm) + " " + std::string(name(first.goal)) + " of " +
                      counted(static_cast<size_t>(first.element_count), "element") + " over " +
                      counted(ranks.size(), "rank");
  if (first.order != comm::Order::kNone) words += ", order: " + std::string(name(first.order));
  if (first.wire == Wire::kNarrow) words += ", wire: " + std::string(name(first.wire));
  return words + "\n";
}

nlohmann::ordered_json as_json(const std::vector<Place>& places) {
  auto list = nlohmann::ordered_json::array();
  for (const Place& place : places) {
    list.push_back(
        {{"rank", place.rank}, {"space", name(place.space)}, {"begin", place.range.begin}, {"end", place.range.end}});
  }
  return list;
}

nlohmann::ordered_json as_json(const Action& action) {
  nlohmann::ordered_json json{{"kind", name(action.kind)}, {"hop", action.hop}, {"segment", action.segment}};
  if (action.peer >= 0) json["peer"] = action.peer;
  if (action.value > 0) json["value"] = action.value;
  if (action.kind == ActionKind::kReduce) json["final"] = action.finality == Finality::kFinal;
  if (!action.from.empty()) json["from"] = as_json(action.from);
  if (!action.to.empty()) json["to"] = as_json(action.to);
  return json;
}

}  // namespace

Range elements_of(const Schedule& schedule, size_t index) {
  for (std::optional<size_t> at = index; at;) {
    const Action& action = schedule.actions[*at];
    if (const auto known = direct_elements(schedule, action)) return *known;
    if (action.to.empty() && action.from.empty()) return {};
    at = action.to.empty() ? last_writer(schedule, *at, action.from[0]) : next_reader(schedule, *at, action.to[0]);
  }
  return {};
}

std::string schedule_table(const std::vector<Schedule>& ranks) {
  const int n = static_cast<int>(ranks.size());
  std::map<int, std::map<int, Row>> hops;
  for (const Schedule& schedule : ranks) {
    for (size_t index = 0; index < schedule.actions.size(); ++index) {
      const Action& action = schedule.actions[index];
      add(hops[action.hop][schedule.at.rank], action, elements_of(schedule, index));
    }
  }
  std::string table = title(ranks);
  for (const auto& [hop, rows] : hops) {
    const int hop_count = std::max(1, ranks[0].hop_count);
    table += "\nhop " + std::to_string(hop + 1) + " of " + std::to_string(hop_count) + "\n";
    std::vector<std::vector<std::string>> lines{{"rank", "sends", "receives", "computes"}};
    for (const auto& [rank, row] : rows) {
      lines.push_back(
          {std::to_string(rank), row.sends.text(" to ", n), row.receives.text(" from ", n), row.computes.text("", n)});
    }
    table += in_columns(lines);
  }
  return table + "\n" + totals(ranks);
}

std::string proof_text(const std::vector<Schedule>& ranks, const comm::Proof& proof) {
  const Schedule& first = ranks[0];
  std::string words = "proven for " + counted(ranks.size(), "rank") + " and this size\n";
  switch (first.goal) {
    case comm::Goal::kAllReduce:
    case comm::Goal::kReduceScatter:
      words += "  result    every element holds each rank exactly once, in the order \"" +
               std::string(name(first.order)) + "\", is final exactly once";
      words += first.goal == comm::Goal::kAllReduce ? ", and is equal on all ranks\n" : "; the data stays as it is\n";
      break;
    case comm::Goal::kAllGather:
    case comm::Goal::kBroadcast:
      words += "  result    every element arrives from its owner, at its place, on all ranks\n";
      break;
  }
  if (first.wire == Wire::kNarrow) {
    words += "  wire      every operand and every result passes through the wire type, once\n";
  }
  words += "  messages  " + std::to_string(proof.messages) + ", each received where it belongs; no deadlock with " +
           std::to_string(first.slots) + " a pair under way\n";
  words += "  memory    " + std::to_string(proof.accesses) + " accesses by " + std::to_string(proof.actions) +
           " actions; any two to the same elements, one of them a store, are ordered\n";
  return words;
}

std::string schedule_json(const std::vector<Schedule>& ranks, const comm::Proof* proof) {
  const Schedule& first = ranks[0];
  nlohmann::ordered_json json{{"algorithm", first.algorithm}, {"op", name(first.goal)},
                              {"world_size", ranks.size()},   {"element_count", first.element_count},
                              {"order", name(first.order)},   {"wire", name(first.wire)},
                              {"hop_count", first.hop_count}, {"slots", first.slots}};
  json["ranks"] = nlohmann::ordered_json::array();
  for (const Schedule& schedule : ranks) {
    const Traffic traffic = traffic_of(schedule);
    nlohmann::ordered_json rank{{"rank", schedule.at.rank},
                                {"messages", traffic.messages},
                                {"elements_sent", traffic.sent},
                                {"elements_read_from_others", traffic.read},
                                {"elements_stored_to_others", traffic.stored},
                                {"float32_bytes", traffic.bytes},
                                {"scratch_elements", schedule.scratch_elements},
                                {"wire_elements", schedule.wire_elements},
                                {"result_elements", schedule.result_elements},
                                {"sends_to", schedule.sends_to},
                                {"receives_from", schedule.receives_from}};
    rank["actions"] = nlohmann::ordered_json::array();
    for (const Action& action : schedule.actions) rank["actions"].push_back(as_json(action));
    json["ranks"].push_back(std::move(rank));
  }
  if (proof != nullptr) {
    json["proof"] = {{"actions", proof->actions}, {"messages", proof->messages}, {"accesses", proof->accesses}};
  }
  return json.dump() + "\n";
}

std::string algorithm_list() {
  std::vector<std::vector<std::string>> lines{{"name", "how", "operations"}};
  for (const comm::Algorithm& algorithm : comm::algorithms()) {
    std::string goals;
    for (const comm::Goal goal : algorithm.goals) goals += (goals.empty() ? "" : " ") + std::string(name(goal));
    lines.push_back({std::string(algorithm.name), std::string(algorithm.summary), goals});
  }
  return in_columns(lines) + "\n`rondo schedule NAME` shows one, `rondo schedule --help` has the flags.\n";
}

std::string algorithm_json() {
  auto list = nlohmann::ordered_json::array();
  for (const comm::Algorithm& algorithm : comm::algorithms()) {
    nlohmann::ordered_json goals = nlohmann::ordered_json::array();
    for (const comm::Goal goal : algorithm.goals) goals.push_back(name(goal));
    list.push_back({{"name", algorithm.name},
                    {"summary", algorithm.summary},
                    {"ops", goals},
                    {"needs", algorithm.means == comm::Means::kRegions ? "regions" : "messages"},
                    {"narrow_wire", algorithm.narrowest == Wire::kNarrow}});
  }
  return list.dump() + "\n";
}

}  // namespace rondo::launcher
