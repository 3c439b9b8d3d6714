/// Completion scripts, made from the CLI11 trees of the verbs: so they know every flag there is. Pure functions.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

struct CompletionFlag {
  std::vector<std::string> names;  // "--nproc-per-node", "-n"
  std::string purpose;
  bool takes_value = false;
};
struct CompletionVerb {
  std::string name, purpose;
  std::vector<CompletionFlag> flags;
  std::vector<std::string> words;  // of its first positional, where they are known
  bool runs_program = false;       // what follows the flags is a program of the user's
};

std::string bash_completion(const std::vector<CompletionVerb>& verbs);
std::string zsh_completion(const std::vector<CompletionVerb>& verbs);
std::string fish_completion(const std::vector<CompletionVerb>& verbs);

}  // namespace rondo::launcher
