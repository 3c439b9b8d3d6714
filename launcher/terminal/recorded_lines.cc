#include "launcher/terminal/recorded_lines.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace rondo::launcher {
namespace {

namespace fs = std::filesystem;

/// The number in "rank-0003" or "attempt-2".
std::optional<int> number_behind(std::string_view prefix, const std::string& name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  int number = 0;
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

/// logs/, or logs/attempt-2/ of ranks that were started again.
fs::path last_generation(const fs::path& logs) {
  fs::path last = logs;
  int highest = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(logs, error)) {
    const auto number = number_behind("attempt-", entry.path().filename().string());
    if (!number || *number <= highest || !entry.is_directory(error)) continue;
    highest = *number;
    last = entry.path();
  }
  return last;
}

}  // namespace

comm::Status tell_recorded_lines(const std::string& folder, const RecordedWish& wish,
                                 const std::function<void(const RecordedLine&, std::string_view)>& tell) {
  const fs::path logs = last_generation(fs::path(folder) / "logs");
  std::map<std::pair<int, Channel>, fs::path> files;
  std::set<int> ranks;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(logs, error)) {
    const auto rank = number_behind("rank-", entry.path().stem().string());
    const std::string ending = entry.path().extension().string();
    if (!rank || (ending != ".out" && ending != ".err")) continue;
    files[{*rank, ending == ".out" ? Channel::kOutput : Channel::kErrors}] = entry.path();
    ranks.insert(*rank);
  }
  if (files.empty()) {
    return {comm::Code::kInvalidArgument, "no logs are kept in " + folder +
                                              "/logs; a run with --log-dir has them there (see " + folder +
                                              "/command.txt), and each host those of its own ranks"};
  }
  for (const int rank : wish.ranks)
    if (!ranks.contains(rank))
      return {comm::Code::kInvalidArgument, logs.string() + " has no file of rank " + std::to_string(rank)};
  for (const auto& [of, path] : files) {
    if (!wish.ranks.empty() && std::ranges::find(wish.ranks, of.first) == wish.ranks.end()) continue;
    const RecordedLine place{.rank = of.first, .ranks = *ranks.rbegin() + 1, .channel = of.second};
    std::ifstream file(path, std::ios::binary);
    std::deque<std::string> last;
    for (std::string line; std::getline(file, line);) {
      if (!wish.tail) {
        tell(place, line);
        continue;
      }
      last.push_back(std::move(line));
      if (last.size() > static_cast<size_t>(*wish.tail)) last.pop_front();
    }
    for (const std::string& line : last) tell(place, line);
  }
  return {};
}

}  // namespace rondo::launcher
