#include "trainer/recipes/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "rondo/error.h"
#include "trainer/recipes/settings.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void no_such_run(const std::string& run, const std::string& asked_by) {
  std::vector<std::string> ids;
  std::error_code no_folder;
  for (const auto& entry : fs::directory_iterator(kRunsFolder, no_folder)) {
    if (entry.is_directory() && !entry.is_symlink()) ids.push_back(entry.path().filename());
  }
  std::ranges::sort(ids);
  std::string message = asked_by + run + ": no such run";
  if (ids.empty())
    throw Error(message + ": " + (fs::current_path() / kRunsFolder).string() + " holds none", ExitCode::kUsage);
  if (const std::string near = nearest(run, ids); !near.empty()) message += "; did you mean " + near + "?";
  throw Error(message + " The newest run is " + ids.back(), ExitCode::kUsage);
}

}  // namespace

fs::path find_run_folder(const std::string& run, const std::string& asked_by) {
  std::vector<fs::path> candidates{run};
  if (run.find('/') == std::string::npos) candidates.insert(candidates.begin(), fs::path(kRunsFolder) / run);
  for (const fs::path& candidate : candidates) {
    std::error_code dangling;
    const fs::path folder = fs::canonical(candidate, dangling);
    if (!dangling && fs::is_directory(folder)) return folder;
  }
  no_such_run(run, asked_by);
}

FoundCheckpoint find_resume_point(const std::string& run) {
  const fs::path folder = find_run_folder(run, "--resume ");
  if (fs::exists(folder / kManifestFile)) return {.checkpoint = open_checkpoint(folder), .skipped = {}};
  return newest_valid_checkpoint(folder / "checkpoints");
}

fs::path make_run_folder(const std::string& short_name) {
  std::array<char, 32> date{};
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::strftime(date.data(), date.size(), "%Y%m%d-%H%M%S", &local);
  const std::string id = short_name + "-" + date.data() + "-" + std::to_string(::getpid());
  const fs::path folder = fs::absolute(fs::path(kRunsFolder) / id);
  fs::create_directories(folder);
  // A link cannot be overwritten in place; a rename can.
  const fs::path link = fs::path(kRunsFolder) / "latest";
  const fs::path fresh = fs::path(kRunsFolder) / (".latest-" + std::to_string(::getpid()));
  fs::create_directory_symlink(id, fresh);
  fs::rename(fresh, link);
  return folder;
}

std::string commit_of_run(const fs::path& run_folder) {
  std::ifstream stream(run_folder / "version.json");
  const auto version = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  return version.is_object() && version.contains("commit") && version["commit"].is_string()
             ? version["commit"].get<std::string>()
             : "unknown";
}

}  // namespace rondo::trainer
