#include "trainer/recipes/run_plan.h"

#include <algorithm>
#include <utility>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

const char* quoted_name(Mode mode) {
  switch (mode) {
    case Mode::kTrain:
      return "\"train\"";
    case Mode::kEvaluate:
      return "\"evaluate\"";
    case Mode::kCheck:
      return "\"check\"";
  }
  return "";
}

const Recipe& choose_recipe(const RecipeRegistry& registry, const Request& request,
                            const std::optional<FoundCheckpoint>& resume) {
  if (!resume) {
    if (request.recipe.empty()) throw Error("which recipe? `rondo train --list` names them", ExitCode::kUsage);
    return registry.find(request.recipe);
  }
  const Manifest& manifest = resume->checkpoint.manifest;
  if (manifest.recipe.empty()) {
    throw Error(
        resume->checkpoint.folder.string() + " was written by a program of its own, not by a recipe: resume it there",
        ExitCode::kUsage);
  }
  const Recipe& recipe = registry.find(manifest.recipe);
  if (!request.recipe.empty() && &registry.find(request.recipe) != &recipe) {
    throw Error("--resume: " + resume->checkpoint.folder.string() + " was trained by " + recipe.short_name() +
                    ", not by " + request.recipe,
                ExitCode::kUsage);
  }
  return recipe;
}

}  // namespace

std::string RunPlan::toml() const {
  std::string text = "recipe = " + toml_text(recipe->name) + "\nmode = " + quoted_name(mode) + "\n" + settings.toml();
  if (resume) {
    const Checkpoint& from = resume->checkpoint;
    text += "\n[resume]\ncheckpoint = " + toml_text(from.folder.string()) +
            "\nstep = " + std::to_string(from.manifest.step) +
            "\nepochs_done = " + std::to_string(from.manifest.cursor.epoch) + "\n";
  }
  return text;
}

RunPlan make_plan(const RecipeRegistry& registry, const Request& request) {
  std::optional<FoundCheckpoint> resume;
  // Names first: a wrong one should not wait for hashes, nor hide behind a missing run.
  if (!request.recipe.empty()) {
    Settings typed(registry.find(request.recipe).short_name(), registry.find(request.recipe).keys);
    for (const std::string& assignment : request.assignments) typed.set_assignment(assignment);
  }
  if (!request.resume.empty()) resume = find_resume_point(request.resume);
  const Recipe& recipe = choose_recipe(registry, request, resume);
  RunPlan plan{.recipe = &recipe,
               .settings = Settings(recipe.short_name(), recipe.keys),
               .mode = request.mode,
               .output = request.output,
               .resume = std::move(resume)};
  if (plan.resume) {
    for (const auto& [key, value] : plan.resume->checkpoint.manifest.config) {
      // Where a run was told to pause is not a property of the run.
      const bool known = std::ranges::any_of(recipe.keys, [&](const KeySpec& spec) { return spec.name == key; });
      if (known && key != "stop_after") plan.settings.set(key, value);
    }
  }
  for (const std::string& assignment : request.assignments) plan.settings.set_assignment(assignment);
  if (plan.resume && plan.mode == Mode::kTrain) {
    const int64_t done = plan.resume->checkpoint.manifest.cursor.epoch;
    if (done >= plan.settings.integer("epochs")) {
      throw Error("nothing left to train: " + plan.resume->checkpoint.folder.string() + " has done " +
                      std::to_string(done) + " of " + std::to_string(plan.settings.integer("epochs")) +
                      " epochs; pass epochs=" + std::to_string(done + 1) + " to train longer, or --eval-only",
                  ExitCode::kUsage);
    }
  }
  recipe.check(plan.settings, plan.mode);
  return plan;
}

}  // namespace rondo::trainer
