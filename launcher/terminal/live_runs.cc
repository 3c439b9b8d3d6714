#include "launcher/terminal/live_runs.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "launcher/cli/nearest_name.h"
#include "launcher/explain/live_run.h"

namespace rondo::launcher {
namespace {

namespace fs = std::filesystem;

std::string listed(std::span<const RunDoor> runs) {
  std::string text;
  for (const RunDoor& run : runs)
    text += (text.empty() ? "" : ", ") + run.run + " (pid " + std::to_string(run.launcher) + ")";
  return text;
}

comm::Status refusal(const std::string& text) { return {comm::Code::kInvalidArgument, text}; }

}  // namespace

std::vector<RunDoor> live_runs() {
  std::ifstream file("/proc/net/unix");
  std::ostringstream table;
  table << file.rdbuf();
  std::vector<RunDoor> runs = doors_in(table.str());
  const uid_t user = ::geteuid();
  if (user != 0) std::erase_if(runs, [user](const RunDoor& run) { return run.user != user; });
  return runs;
}

comm::Result<RunDoor> choose_run(const std::string& word, std::span<const RunDoor> runs) {
  if (runs.empty())
    return refusal(word.empty() ? "no run goes on here" : "there is no run '" + word + "': none goes on here");
  if (word.empty()) {
    if (runs.size() == 1) return runs.front();
    return refusal("which run? There are " + listed(runs));
  }
  const std::string known = word.substr(0, RunDoor::kLongestRun);
  std::vector<RunDoor> same, begun;
  for (const RunDoor& run : runs) {
    if (run.run == known || std::to_string(run.launcher) == word) same.push_back(run);
    if (run.run.starts_with(known)) begun.push_back(run);
  }
  const std::vector<RunDoor>& meant = same.empty() ? begun : same;
  if (meant.size() == 1) return meant.front();
  if (meant.size() > 1)
    return refusal("'" + word + "' may be " + listed(meant) + ": say more of its id, or the launcher's pid");
  std::vector<std::string> names;
  for (const RunDoor& run : runs) names.push_back(run.run);
  return refusal("there is no live run '" + word + "'" + suggestion(word, names) + "; there are " + listed(runs));
}

comm::Result<RunDoor> find_live_run(const std::string& word) {
  const std::vector<RunDoor> runs = live_runs();
  std::error_code error;
  for (const fs::path& folder : {fs::path("runs") / word, fs::path(word)}) {
    if (word.empty() || !fs::exists(folder / "events.jsonl", error)) continue;
    // Of runs/latest the run that it leads to. Not one that only has the same id, in another folder.
    const std::string name = fs::canonical(folder, error).filename().string();
    const auto launcher = launcher_of(folder.string());
    if (!launcher) return refusal("the run " + name + " has ended");
    const auto meant = std::ranges::find(runs, *launcher, &RunDoor::launcher);
    if (meant != runs.end()) return *meant;
    return refusal("the run " + name + " (pid " + std::to_string(*launcher) +
                   ") goes on, but not where this terminal reaches it: it is another user's or another network "
                   "namespace's, or its events.jsonl says why it has no door");
  }
  return choose_run(word, runs);
}

}  // namespace rondo::launcher
