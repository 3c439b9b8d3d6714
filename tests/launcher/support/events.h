/// What events.jsonl of a run tells to tests.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/launcher/support/launch.h"

namespace rondo::test {

/// The ranks' process ids so far; of ranks that were started again the last.
inline std::map<int, pid_t> pid_by_rank(const std::filesystem::path& run) {
  std::map<int, pid_t> pids;
  for (const std::string& line : lines_of(read_file(run / "events.jsonl"))) {
    const auto event = nlohmann::json::parse(line, nullptr, false);  // the last line may be half written
    if (event.is_object() && event["kind"] == "spawn") pids[event["rank"]] = event["pid"];
  }
  return pids;
}

/// The same, in the order of the ranks.
inline std::vector<pid_t> pids_of(const std::filesystem::path& run) {
  std::vector<pid_t> pids;
  for (const auto& [rank, pid] : pid_by_rank(run)) pids.push_back(pid);
  return pids;
}

}  // namespace rondo::test
