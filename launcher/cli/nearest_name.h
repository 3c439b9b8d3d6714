/// "did you mean": the known name that is nearest to a mistyped one. Pure functions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rondo::launcher {

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b);

/// The first of the nearest `names`, if a typing mistake explains the difference: at most a third of the letters, at
/// least two, or `typed` is the beginning of the name.
std::optional<std::string> nearest_name(std::string_view typed, std::span<const std::string> names);

/// " (did you mean 'run'?)", or empty.
std::string suggestion(std::string_view typed, std::span<const std::string> names);

}  // namespace rondo::launcher
