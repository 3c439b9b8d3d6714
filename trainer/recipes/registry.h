/// The one list of what `rondo train` can run.
///
/// A recipe registers under a dotted public name ("vision.fmnist-cnn"); its last part is the short name, accepted
/// everywhere. Registration is a call, not a static object: the order is fixed and nothing happens before main().
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "trainer/recipes/request.h"
#include "trainer/recipes/settings.h"

namespace rondo::trainer {

struct Recipe {
  std::string name;     // dotted
  std::string summary;  // one line for --list
  std::vector<KeySpec> keys;
  /// Whether everything it needs is there and whole; throws rondo::Error (kPreflight, kCorrupt). Takes a second at
  /// most.
  std::function<void(const Settings&, Mode)> check;

  std::string short_name() const { return name.substr(name.rfind('.') + 1); }
};

class RecipeRegistry {
 public:
  /// Both names must be new.
  void add(Recipe recipe);
  /// By dotted or short name. Throws rondo::Error (kUsage) with the nearest name and the list.
  const Recipe& find(const std::string& name) const;
  const std::vector<Recipe>& recipes() const { return recipes_; }

  /// For people; and for programs: a JSON list of {name, short_name, summary, keys: [{name, type, default, help,
  /// scope}]}.
  std::string list_text() const;
  std::string list_json() const;

 private:
  std::vector<Recipe> recipes_;
};

/// Fashion-MNIST: "vision.fmnist-cnn", "vision.fmnist-mlp".
void register_vision(RecipeRegistry& registry);

/// Every recipe of this build.
RecipeRegistry all_recipes();

}  // namespace rondo::trainer
