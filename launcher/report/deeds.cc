#include "launcher/report/deeds.h"

#include <algorithm>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

/// Without hop and peer: in a ring these differ from rank to rank.
std::string call(const Standing& standing, const comm::FlightRecord& record) {
  return printable(record.describe()) + " (sequence " + std::to_string(record.sequence) + " of group \"" +
         printable(standing.group) + "\")";
}

}  // namespace

std::map<int, std::string> deeds(const Explanation& explanation) {
  std::map<int, const Standing*> busy, idle;
  for (const Standing& standing : explanation.standings) {
    if (standing.current) {
      const Standing*& longest = busy[standing.rank];
      if (longest == nullptr || standing.current->called_ns < longest->current->called_ns) longest = &standing;
    } else if (standing.last_finished) {
      const Standing*& latest = idle[standing.rank];
      if (latest == nullptr || standing.last_finished->ended_ns > latest->last_finished->ended_ns) latest = &standing;
    }
  }
  std::map<int, std::string> all;
  for (const Standing& standing : explanation.standings) all[standing.rank] = "in no collective yet";
  for (const auto& [rank, standing] : idle)
    all[rank] = "in no collective; the last that it finished: " + call(*standing, *standing->last_finished);
  for (const auto& [rank, standing] : busy) all[rank] = "in " + call(*standing, *standing->current);
  return all;
}

std::vector<std::string> deed_lines(const std::vector<RankStory>& ranks) {
  std::vector<std::pair<std::string, std::vector<int>>> by_deed;  // in the order of their first rank
  for (const RankStory& story : ranks) {
    if (story.doing.empty()) continue;
    const auto same =
        std::find_if(by_deed.begin(), by_deed.end(), [&](const auto& known) { return known.first == story.doing; });
    if (same == by_deed.end()) {
      by_deed.push_back({story.doing, {story.rank}});
    } else {
      same->second.push_back(story.rank);
    }
  }
  std::vector<std::string> lines;
  for (const auto& [deed, who] : by_deed) lines.push_back(ranks_text(who) + ": " + deed);
  return lines;
}

}  // namespace rondo::launcher
