/// Small conversions to text. Pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rondo::launcher {

/// "9 (SIGKILL)".
std::string signal_text(int signal);

/// A word as a POSIX shell reads it back; unquoted when that is safe.
std::string shell_quoted(std::string_view word);
std::string shell_quoted(std::span<const std::string> words);

/// A TOML basic string, quotes included.
std::string toml_string(std::string_view text);

/// `text` with control characters as \x1b and the like, so that it cannot steer a terminal. Tabs and UTF-8 stay.
std::string printable(std::string_view text);

/// "2 ranks", "1 rank".
std::string counted(size_t count, const std::string& noun);

}  // namespace rondo::launcher
