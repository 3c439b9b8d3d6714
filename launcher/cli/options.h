/// Flags that several verbs share, and parsing with CLI11 that names the nearest flag.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "rondo/comm/status.h"

namespace CLI {
class App;
}

namespace rondo::launcher {

/// Flags of every verb that starts ranks.
struct JobFlags {
  std::string ranks;    // --nproc-per-node: a number, or auto
  std::string run_dir;  // --run-dir; empty: runs/<name>-<date>-<pid>
  std::string log_dir;  // --log-dir; empty: logs/ in the run folder
  double grace_seconds = 10;
};
void add_job_flags(CLI::App& app, JobFlags& flags);

/// The group of flags that only `--help-all` shows.
inline constexpr const char* kFurtherFlags = "further flags of torchrun";

/// Makes `--help` begin with `usage`, e.g. "rondo run [flags] PROGRAM ARGS...", and adds `--help-all`.
void set_usage(CLI::App& app, const std::string& usage);

inline constexpr int kMostRanks = 4096;  // of a host
/// --nproc-per-node as a number between 1 and kMostRanks.
comm::Result<int> parse_ranks(const std::string& text);
/// --grace between 0 and a day.
comm::Result<std::chrono::milliseconds> parse_grace(double seconds);

/// Splits `arguments` where the flags known to `app` end: at the first word that is none, or behind "--".
/// torchrun's spelling with underscores is accepted: flags come back with dashes; -n4 comes back as two words. An
/// unknown flag is an error with the nearest one.
struct SplitArguments {
  std::vector<std::string> flags;
  std::vector<std::string> rest;
};
comm::Result<SplitArguments> split_at_program(const CLI::App& app, const std::vector<std::string>& arguments);

/// `words` without --run-dir and its value: a folder that holds a run takes no second one.
std::vector<std::string> without_run_dir(const std::vector<std::string>& words);

/// How parsing ended: go on, or leave with this code (help was printed, or a mistake named).
struct Parsed {
  bool go_on = true;
  int exit_code = 0;
};
/// Parses `arguments`. Mistakes are printed to stderr as "rondo VERB: ...".
Parsed parse(CLI::App& app, std::vector<std::string> arguments);

/// Prints "rondo VERB: message" and how to get help; returns kExitUsage.
int usage_error(const CLI::App& app, const std::string& message);

/// The flag's error for a word that starts with a dash and is unknown.
std::string unknown_flag(const CLI::App& app, const std::string& word);

}  // namespace rondo::launcher
