#include "launcher/base/version.h"

#include <nlohmann/json.hpp>

#include "launcher/commit.h"

namespace rondo::launcher {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "Clang " __clang_version__;
#else
constexpr const char* kCompiler = "GCC " __VERSION__;
#endif

}  // namespace

std::string version_line() {
  return std::string("rondo ") + RONDO_VERSION + " (commit " + kCommit + ", " + RONDO_BUILD_TYPE + ", " + kCompiler +
         ")";
}

std::string version_json() {
  nlohmann::ordered_json version;
  version["program"] = "rondo";
  version["version"] = RONDO_VERSION;
  version["commit"] = kCommit;
  version["build_type"] = RONDO_BUILD_TYPE;
  version["compiler"] = kCompiler;
  return version.dump() + "\n";
}

}  // namespace rondo::launcher
