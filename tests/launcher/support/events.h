/// What events.jsonl of a run tells to tests.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/launcher/support/launch.h"

namespace rondo::test {

/// The ranks' process ids so far, by rank.
inline std::vector<pid_t> pids_of(const std::filesystem::path& run) {
  std::vector<pid_t> pids;
  for (const std::string& line : lines_of(read_file(run / "events.jsonl"))) {
    const auto event = nlohmann::json::parse(line, nullptr, false);  // the last line may be half written
    if (event.is_object() && event["kind"] == "spawn") pids.push_back(event["pid"]);
  }
  return pids;
}

}  // namespace rondo::test
