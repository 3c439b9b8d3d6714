/// Environments of processes as values, so that a test says what a launcher would have set.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "rondo/comm/bootstrap.h"

namespace rondo::test {

using Variables = std::map<std::string, std::string>;

inline comm::Environment environment(Variables variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

inline Variables with(Variables variables, const Variables& changes) {
  for (const auto& [name, value] : changes) variables[name] = value;
  return variables;
}
inline Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

}  // namespace rondo::test
