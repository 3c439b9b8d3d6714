/// Lines for people, from every rank, on stderr: "rondo[1]: warning: ...".
///
/// Rank 0 shows kInfo and above, the others kWarning and above. RONDO_LOG (debug, info, warn or error) sets another
/// threshold, for all ranks alike; errors are shown always. Job::log() writes one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rondo/comm/log.h"

namespace rondo {

using comm::LogLevel;

/// "debug", "info", "warn", "error"; nothing for other words.
std::optional<LogLevel> log_level(std::string_view word);

namespace trainer {
/// What a rank shows when RONDO_LOG says nothing.
LogLevel default_log_level(int rank);
/// The line as it is written, with its end; line ends inside become blanks, so that it stays one.
std::string log_line(int rank, LogLevel level, std::string_view text);
/// Writes lines of `least` and above to stderr.
comm::LogSink log_to_stderr(int rank, LogLevel least);
}  // namespace trainer

}  // namespace rondo
