#include "launcher/base/version.h"

#include <nlohmann/json.hpp>

#include "launcher/base/libraries.h"
#include "rondo_commit.h"

namespace rondo::launcher {

std::string version_line() {
  return std::string("rondo ") + RONDO_VERSION + " (commit " + build::kCommit + ", " + RONDO_BUILD_TYPE + ", " +
         build::kCompiler + ")";
}

std::string version_json() {
  nlohmann::ordered_json version;
  version["program"] = "rondo";
  version["version"] = RONDO_VERSION;
  version["commit"] = build::kCommit;
  version["build_type"] = RONDO_BUILD_TYPE;
  version["compiler"] = build::kCompiler;
  version["language"] = "C++" + std::to_string(__cplusplus / 100 % 100);
  version["libraries"] = nlohmann::ordered_json::object();
  for (const Library& library : libraries()) version["libraries"][library.name] = library.version;
  version["cpu_features"] = cpu_features();
  return version.dump() + "\n";
}

}  // namespace rondo::launcher
