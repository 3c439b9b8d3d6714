#include "trainer/recipes/registry.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "rondo/error.h"

namespace rondo::trainer {

void RecipeRegistry::add(Recipe recipe) {
  for (const Recipe& known : recipes_) {
    if (known.name == recipe.name || known.short_name() == recipe.short_name()) {
      throw Error("two recipes are called " + recipe.name + " or " + recipe.short_name(), ExitCode::kUsage);
    }
  }
  recipes_.push_back(std::move(recipe));
}

const Recipe& RecipeRegistry::find(const std::string& name) const {
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes_) {
    if (name == recipe.name || name == recipe.short_name()) return recipe;
    names.push_back(recipe.short_name());
    names.push_back(recipe.name);
  }
  const std::string near = nearest(name, names);
  std::string all;
  for (const Recipe& recipe : recipes_) all += (all.empty() ? "" : ", ") + recipe.short_name();
  throw Error("unknown recipe \"" + name + "\"" + (near.empty() ? "." : "; did you mean \"" + near + "\"?") +
                  " Recipes: " + all,
              ExitCode::kUsage);
}

std::string RecipeRegistry::list_text() const {
  std::string text;
  for (const Recipe& recipe : recipes_) {
    text += recipe.short_name() + "  (" + recipe.name + ")\n  " + recipe.summary + "\n";
    for (const KeySpec& key : recipe.keys) {
      std::string left = "    " + key.name + "=" + key.default_value;
      left.resize(std::max<size_t>(left.size() + 2, 44), ' ');
      text += left + key.help + " (" + key.type_name() + ", " + key.scope_name() + ")\n";
    }
  }
  return text;
}

std::string RecipeRegistry::list_json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Recipe& recipe : recipes_) {
    nlohmann::ordered_json keys = nlohmann::ordered_json::array();
    for (const KeySpec& key : recipe.keys) {
      keys.push_back({{"name", key.name},
                      {"type", key.type_name()},
                      {"default", key.default_value},
                      {"help", key.help},
                      {"scope", key.scope_name()}});
    }
    list.push_back(
        {{"name", recipe.name}, {"short_name", recipe.short_name()}, {"summary", recipe.summary}, {"keys", keys}});
  }
  return list.dump(2) + "\n";
}

RecipeRegistry all_recipes() {
  RecipeRegistry registry;
  register_vision(registry);
  return registry;
}

}  // namespace rondo::trainer
