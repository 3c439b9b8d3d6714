/// An explanation as lines for people and as JSON for programs. Pure.
#pragma once

#include <string>
#include <vector>

#include "launcher/explain/findings.h"

namespace rondo::launcher {

std::vector<std::string> explanation_lines(const RunRecord& run, const Explanation& explanation);
/// One object, with a newline.
std::string explanation_json(const RunRecord& run, const Explanation& explanation);

}  // namespace rondo::launcher
