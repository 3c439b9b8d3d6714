/// A request with every question answered: which recipe, which values, from where. Made before anything starts, so that
/// whatever can be refused is refused while nothing is written.
#pragma once

#include <optional>
#include <string>

#include "trainer/recipes/registry.h"
#include "trainer/recipes/request.h"
#include "trainer/recipes/run_folder.h"

namespace rondo::trainer {

struct RunPlan {
  const Recipe* recipe = nullptr;  // in the registry, which outlives the plan
  Settings settings;
  Mode mode = Mode::kTrain;
  Request::Output output = Request::Output::kText;
  std::optional<FoundCheckpoint> resume;

  /// The resolved configuration: recipe, keys, and where it goes on from.
  std::string toml() const;
};

/// Looks up the recipe (without a name: the resumed run's), takes the resumed run's values as defaults, sets the keys
/// of the request, and checks data and checkpoint. Throws rondo::Error.
RunPlan make_plan(const RecipeRegistry& registry, const Request& request);

}  // namespace rondo::trainer
