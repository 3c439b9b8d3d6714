/// Reads typed values out of an environment; every error names the variable, its value and what was expected.
#pragma once

#include <optional>
#include <string>

#include "rondo/comm/bootstrap.h"

namespace rondo::comm {

struct Range {
  int64_t least = 0, most = 0;
};
constexpr int64_t kMostRanks = 4096;

/// Empty when the variable is not set.
Result<std::optional<int64_t>> read_number(const Environment& environment, const std::string& name, Range range);
/// kInvalidArgument when it is not set: `needed_because` says who asks for it.
Result<int64_t> need_number(const Environment& environment, const std::string& name, Range range,
                            const std::string& needed_because);
/// The variable, or empty; a variable that is set to nothing counts as not set.
std::string read_text(const Environment& environment, const std::string& name);

Status bad_variable(const std::string& name, const std::string& value, const std::string& expected);

}  // namespace rondo::comm
