#include "rondo/log.h"

#include <array>
#include <cstdio>
#include <utility>

namespace rondo {
namespace {

constexpr std::array<std::pair<LogLevel, std::string_view>, 4> kWords{{{LogLevel::kDebug, "debug"},
                                                                       {LogLevel::kInfo, "info"},
                                                                       {LogLevel::kWarning, "warn"},
                                                                       {LogLevel::kError, "error"}}};

}  // namespace

std::optional<LogLevel> log_level(std::string_view word) {
  for (const auto& [level, known] : kWords) {
    if (word == known) return level;
  }
  return std::nullopt;
}

namespace trainer {

LogLevel default_log_level(int rank) { return rank == 0 ? LogLevel::kInfo : LogLevel::kWarning; }

std::string log_line(int rank, LogLevel level, std::string_view text) {
  std::string line = "rondo[" + std::to_string(rank) + "]: ";
  if (level == LogLevel::kDebug) line += "debug: ";
  if (level == LogLevel::kWarning) line += "warning: ";
  if (level == LogLevel::kError) line += "error: ";
  for (const char c : text) line += c == '\n' || c == '\r' ? ' ' : c;
  return line + "\n";
}

comm::LogSink log_to_stderr(int rank, LogLevel least) {
  return [rank, least](LogLevel level, std::string_view text) {
    if (level < least && level != LogLevel::kError) return;
    const std::string line = log_line(rank, level, text);
    std::fwrite(line.data(), 1, line.size(), stderr);  // one call: lines of threads do not mix
  };
}

}  // namespace trainer
}  // namespace rondo
