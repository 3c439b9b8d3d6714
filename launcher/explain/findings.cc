#include "launcher/explain/findings.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "launcher/base/text.h"
#include "launcher/explain/view.h"

namespace rondo::launcher {
namespace {

/// What ranks said when they failed, the first first.
std::vector<Finding> errors(const View& view, bool mismatch_shown) {
  std::map<std::pair<uint64_t, std::string>, std::vector<int>> said;  // by time
  std::map<std::string, uint64_t> first;
  for (const RankRecord& rank : view.run().ranks) {
    if (!rank.flight || !rank.flight->ending) continue;
    const comm::Flight::Ending& ending = *rank.flight->ending;
    if (mismatch_shown && ending.code == comm::Code::kMismatch) continue;  // with both sides
    // Who passed the reason on makes no difference to it.
    const std::string text =
        std::string(comm::name(ending.code)) + ": " + printable(ending.text.substr(0, ending.text.rfind(" (said by ")));
    const uint64_t at = first.try_emplace(text, ending.at_ns).first->second;
    said[{at, text}].push_back(rank.rank);
  }
  std::vector<Finding> findings;
  for (const auto& [what, who] : said)
    findings.push_back({.kind = FindingKind::kError,
                        .ranks = who,
                        .text = ranks_text(who) + (who.size() == 1 ? " reports " : " report ") + what.second});
  return findings;
}

std::vector<Finding> idle(const View& view) {
  std::vector<Finding> findings;
  for (const auto& [id, members] : view.groups()) {
    const Member& first = members.front();
    if (first.last_finished == nullptr || !first.group.open) continue;
    uint64_t last = 0;
    for (const Member& member : members)
      if (member.last_finished != nullptr) last = std::max(last, member.last_finished->ended_ns);
    findings.push_back({.kind = FindingKind::kIdle,
                        .group = first.group.name,
                        .ranks = ranks_of(members),
                        .sequence = first.last_finished->sequence,
                        .text = "nothing " + view.verb("is", "was") + " under way in group " +
                                quoted(first.group.name) + ": " + ranks_text(ranks_of(members)) +
                                " finished sequence " + std::to_string(first.last_finished->sequence) + ", " +
                                duration_text(since(last, view.run().now_ns)) + " ago"});
  }
  return findings;
}

std::vector<Standing> standings(const View& view) {
  std::vector<Standing> all;
  for (const auto& [id, members] : view.groups()) {
    for (const Member& member : members) {
      Standing standing{.rank = member.rank->rank,
                        .group = member.group.name,
                        .at = member.group.at,
                        .open = member.group.open,
                        .called = member.group.called,
                        .finished = member.group.finished};
      if (member.current != nullptr) standing.current = *member.current;
      if (member.last_finished != nullptr) standing.last_finished = *member.last_finished;
      all.push_back(std::move(standing));
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Standing& a, const Standing& b) { return a.rank < b.rank; });
  return all;
}

}  // namespace

const char* name(FindingKind kind) {
  switch (kind) {
    case FindingKind::kDied:
      return "died";
    case FindingKind::kStopped:
      return "stopped";
    case FindingKind::kMismatch:
      return "mismatch";
    case FindingKind::kBehind:
      return "behind";
    case FindingKind::kLeft:
      return "left";
    case FindingKind::kForming:
      return "forming";
    case FindingKind::kWaiting:
      return "waiting";
    case FindingKind::kIdle:
      return "idle";
    case FindingKind::kError:
      return "error";
  }
  return "unknown";
}

Explanation explain(const RunRecord& run) {
  const View view(run);
  std::vector<Finding> findings = rank_findings(view);
  const auto add = [&findings](std::vector<Finding> more) {
    std::move(more.begin(), more.end(), std::back_inserter(findings));
  };
  add(group_findings(view));
  add(errors(view, std::any_of(findings.begin(), findings.end(),
                               [](const Finding& found) { return found.kind == FindingKind::kMismatch; })));
  if (findings.empty()) add(idle(view));
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.kind < b.kind; });
  return {.findings = std::move(findings), .standings = standings(view)};
}

std::string ranks_text(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  std::vector<std::string> parts;
  for (size_t i = 0; i < ranks.size();) {
    size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (end - i > 3) {
      parts.push_back(std::to_string(ranks[i]) + "-" + std::to_string(ranks[end - 1]));
    } else {
      for (size_t at = i; at < end; ++at) parts.push_back(std::to_string(ranks[at]));
    }
    i = end;
  }
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < parts.size(); ++i) text += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  return text;
}

std::string duration_text(uint64_t nanoseconds) {
  if (nanoseconds < 1'000'000) return std::to_string(nanoseconds / 1000) + " us";
  const uint64_t milliseconds = nanoseconds / 1'000'000;
  if (milliseconds < 1000) return std::to_string(milliseconds) + " ms";
  if (milliseconds < 100'000)
    return std::to_string(milliseconds / 1000) + "." + std::to_string(milliseconds / 100 % 10) + " s";
  return std::to_string(milliseconds / 60'000) + " min " + std::to_string(milliseconds / 1000 % 60) + " s";
}

}  // namespace rondo::launcher
