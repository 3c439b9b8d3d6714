#include "rondo/findings.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace rondo {
namespace {

/// Of a long list; programs get all.
constexpr size_t kNamesInText = 12;

const char* word(Severity severity) {
  switch (severity) {
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

std::string counted(size_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

/// "on all 3 ranks", "on rank 1", "on ranks 1 and 2".
std::string place(const std::vector<int>& ranks, int world_size) {
  if (static_cast<int>(ranks.size()) == world_size) {
    return world_size == 1 ? "" : " on all " + std::to_string(world_size) + " ranks";
  }
  std::string text = ranks.size() == 1 ? " on rank " : " on ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") + std::to_string(ranks[i]);
  }
  return text;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  const size_t shown = std::min(names.size(), kNamesInText);
  for (size_t i = 0; i < shown; ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (shown < names.size()) text += ", and " + std::to_string(names.size() - shown) + " more";
  return text;
}

}  // namespace

int Findings::count(Severity severity) const {
  return static_cast<int>(std::ranges::count(list, severity, &Finding::severity));
}

std::string Findings::text() const {
  std::string counts;
  for (const Severity severity : {Severity::kError, Severity::kWarning, Severity::kNote}) {
    const auto found = static_cast<size_t>(count(severity));
    if (found > 0) counts += (counts.empty() ? "" : ", ") + counted(found, word(severity));
  }
  std::string text = "check: " + (counts.empty() ? "nothing found" : counts) + " on " +
                     counted(static_cast<size_t>(world_size), "rank") + "\n";
  for (const Finding& finding : list) {
    text += std::string(word(finding.severity)) + " " + finding.topic + place(finding.ranks, world_size);
    if (!finding.names.empty()) text += ": " + listed(finding.names);
    text += "\n  " + finding.what;
    if (!finding.cause.empty()) text += "\n  cause: " + finding.cause;
    if (!finding.cure.empty()) text += "\n  cure: " + finding.cure;
    text += "\n";
  }
  return text;
}

std::string Findings::json() const {
  using Json = nlohmann::ordered_json;
  Json entries = Json::array();
  for (const Finding& finding : list) {
    entries.push_back({{"severity", word(finding.severity)},
                       {"topic", finding.topic},
                       {"names", finding.names},
                       {"what", finding.what},
                       {"cause", finding.cause},
                       {"cure", finding.cure},
                       {"ranks", finding.ranks}});
  }
  const Json all = {{"schema", 1}, {"world_size", world_size}, {"findings", entries}};
  return all.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace rondo
