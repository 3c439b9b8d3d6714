/// Completion scripts, made from the CLI11 trees of the verbs: so they know every flag there is. Pure functions.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

struct CompletionFlag {
  std::vector<std::string> names;  // "--nproc-per-node", "-n"
  std::string purpose;
  bool takes_value = false;
  std::vector<std::string> values;  // where they are known; else a file's name is offered
};
struct CompletionVerb {
  std::string name, purpose;
  std::vector<CompletionFlag> flags;
  std::vector<std::string> words;     // of its first positional, where they are known
  bool asks = false;                  // more of them are known to `rondo completion --words NAME` only
  bool runs_program = false;          // what follows the flags is a program of the user's
  std::vector<CompletionVerb> parts;  // by their first word: `rondo bench train` has flags of its own
};

std::string bash_completion(const std::vector<CompletionVerb>& verbs);
std::string zsh_completion(const std::vector<CompletionVerb>& verbs);
std::string fish_completion(const std::vector<CompletionVerb>& verbs);

}  // namespace rondo::launcher
