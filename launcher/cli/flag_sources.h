/// Where each flag's value comes from. The first that names it wins: the command line, RONDO_<FLAG>, PET_<FLAG>
/// (torchrun's), the last --config file that has it, the default.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/status.h"

namespace CLI {
class App;
}

namespace rondo::launcher {

struct FlagValue {
  std::string flag;    // "nproc-per-node"
  std::string value;   // of a flag without a value: "true" or "false"
  std::string origin;  // "command line", "PET_NPROC_PER_NODE", "job.toml line 3", "default"
  enum class Kind { kSwitch, kText } kind = Kind::kText;
  bool given() const { return origin != "default"; }
};

class FlagSources {
 public:
  /// Reads a variable; null: not set. An empty one counts as not set.
  using Environment = std::function<const char*(const char*)>;

  /// `words` are the flags of the command line, with dashes. `table` is the table of a --config file that holds flags.
  /// kInvalidArgument: an unknown key with the nearest one, a value of a wrong type, a file that cannot be read.
  static comm::Result<FlagSources> resolve(const CLI::App& app, const std::vector<std::string>& words,
                                           const std::string& table, const Environment& environment);

  /// By flag, in the order of the app.
  const std::vector<FlagValue>& values() const { return values_; }
  const FlagValue* find(const std::string& flag) const;
  bool given(const std::string& flag) const;
  /// The words that CLI11 is to parse: each flag that is given, once.
  const std::vector<std::string>& words() const { return words_; }
  /// Names where the flags in `message` come from, when that is not the command line: "--nnodes 2 (from PET_NNODES)".
  std::string with_origins(std::string message) const;
  /// `command` of the last file that has one: a program and its arguments.
  const std::vector<std::string>& command() const { return command_; }
  /// Flags that variables gave, as they would be typed.
  std::vector<std::string> words_of_variables() const;
  /// Things to tell: PET_ variables that are no flag, and RONDO_ variables that look like a mistyped one.
  const std::vector<std::string>& notes() const { return notes_; }

  /// The variables of a flag, the strongest first; empty for flags that only the command line has.
  static std::vector<std::string> variables_of(const std::string& flag);

 private:
  std::vector<FlagValue> values_;
  std::vector<std::string> words_, command_, notes_;
};

}  // namespace rondo::launcher
