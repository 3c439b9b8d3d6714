#include "launcher/cli/verify_runs.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "launcher/agent/ask.h"
#include "launcher/agent/run_folder.h"
#include "launcher/base/exit_codes.h"

namespace rondo::launcher {
namespace {

bool sets(const std::vector<std::string>& settings, const std::string& key) {
  return std::ranges::any_of(settings, [&](const std::string& word) { return word.starts_with(key + "="); });
}

std::string default_folder(const std::string& recipe) {
  std::array<char, 32> date{};
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::strftime(date.data(), date.size(), "%Y%m%d-%H%M%S", &local);
  return "runs/" + run_name(recipe) + "-verify-" + date.data() + "-" + std::to_string(::getpid());
}

int refuse(const comm::Status& status) {
  std::fprintf(stderr, "rondo train --verify: %s\n", status.message().c_str());
  return exit_code_of(status);
}

}  // namespace

std::vector<VerifyRun> verify_runs(const VerifyRequest& request) {
  constexpr int64_t kSteps = 10;
  std::vector<std::string> all = request.settings;
  if (!sets(all, "epochs") && !sets(all, "limit")) {
    all.emplace_back("epochs=1");
    all.push_back("limit=" + std::to_string(kSteps * request.ranks * request.batch));
  }
  // The last setting of a key counts.
  const auto with = [&](const std::string& setting) {
    std::vector<std::string> settings = all;
    settings.push_back(setting);
    return settings;
  };
  const auto same_bits = [&](const std::string& setting) {
    std::string name = setting;
    std::ranges::replace(name, '=', '-');
    return VerifyRun{.name = name, .ranks = request.ranks, .settings = with(setting)};
  };
  return {
      {.name = "all-ranks", .ranks = request.ranks, .settings = all},
      {.name = "one-process", .ranks = 1, .settings = with("batch=" + std::to_string(request.ranks * request.batch))},
      {.name = "once-more", .ranks = request.ranks, .settings = all},
      same_bits("transport=tcp"),
      same_bits("transport=shm"),
      same_bits("algorithm=direct"),
      same_bits("algorithm=one-shot"),
      same_bits("bucket_bytes=64KiB"),
      same_bits("overlap=off")};
}

int verify_recipe(const VerifyRequest& request) {
  const std::vector<VerifyRun> runs = verify_runs(request);
  const std::string folder = request.folder.empty() ? default_folder(request.recipe) : request.folder;
  std::vector<std::string> question{request.trainer, "verify", folder};
  if (request.json) question.emplace_back("--json");
  for (size_t i = 0; i < runs.size(); ++i) {
    const VerifyRun& run = runs[i];
    std::fprintf(stderr, "%s --verify, training %zu of %zu: %s\n", request.recipe.c_str(), i + 1, runs.size(),
                 run.name.c_str());
    std::vector<std::string> words{"/proc/self/exe",
                                   "train",
                                   request.recipe,
                                   "--nproc-per-node",
                                   std::to_string(run.ranks),
                                   "--run-dir",
                                   folder + "/" + run.name,
                                   "--grace",
                                   std::to_string(request.grace_seconds)};
    words.insert(words.end(), run.settings.begin(), run.settings.end());
    const auto ended = ask(words);
    if (!ended.ok()) return refuse(ended.status());
    if (ended->exit_code != kExitOk) {
      std::fprintf(stderr, "rondo train --verify: the training %s failed; see %s/%s\n", run.name.c_str(),
                   folder.c_str(), run.name.c_str());
      return ended->exit_code;
    }
    question.push_back(run.name);
  }
  const auto verdict = ask(question);
  if (!verdict.ok()) return refuse(verdict.status());
  std::fputs(verdict->output.c_str(), stdout);
  return verdict->exit_code;
}

}  // namespace rondo::launcher
