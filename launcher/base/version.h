/// What this build is.
#pragma once

#include <string>

namespace rondo::launcher {

/// "rondo 0.1.0 (commit 0123abcd, Release, GCC 12.2.0)".
std::string version_line();
/// One JSON object, with a newline: `rondo version --json` and a run's version.json.
std::string version_json();

}  // namespace rondo::launcher
