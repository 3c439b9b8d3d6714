#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <set>
#include <sstream>

#include "launcher/agent/ask.h"
#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/cli/completion.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/terminal/live_runs.h"
#include "rondo/comm/algorithms.h"

namespace rondo::launcher {
namespace {

const char* const kFooter =
    "examples:\n"
    "  eval \"$(rondo completion bash)\"                          for this shell; in ~/.bashrc for every one\n"
    "  rondo completion zsh > ~/.zfunc/_rondo                   a folder of $fpath\n"
    "  rondo completion fish > ~/.config/fish/completions/rondo.fish\n";

const std::vector<std::string> kShells{"bash", "zsh", "fish"};
/// Verbs with words that the scripts do not hold.
const std::set<std::string> kOfRuns{"logs", "top", "stop"};
const std::set<std::string> kAskable{"train", "bench", "logs", "top", "stop"};

/// Flags that take one of a few words, whichever verb has them.
const std::map<std::string, std::vector<std::string>> kValues{
    {"--nproc-per-node", {"auto", "cpu", "gpu"}},
    {"--prefix", {"auto", "none", "rank", "full", "json"}},
    {"--show", {"all", "first", "failed"}},
    {"--numa-binding", {"cores", "node", "socket", "core-complex", "exclusive", "none"}},
    {"--rdzv-backend", {"static", "c10d"}},
    {"--start-method", {"spawn", "fork", "forkserver"}},
    {"--redirects", {"0", "1", "2", "3"}},
    {"--tee", {"0", "1", "2", "3"}},
    {"--wire", {"same", "bf16", "fp16"}},
    {"--transport", {"shm", "tcp", "mpi"}},
    {"--cases", {"empty", "restart", "first-step"}},
    {"--models", {"mlp", "cnn", "resnet18", "gpt"}},
    {"--model", {"mlp", "cnn", "resnet18", "gpt"}},
    {"--resume", {"latest"}},
    {"--signal", {"TERM", "INT", "KILL", "USR1", "USR2"}},
};
const std::map<std::string, std::vector<std::string>> kRivals{
    {"bench", {"gloo", "openmpi", "mpich"}}, {"train", {"pytorch"}}, {"start", {"torchrun"}}};

CompletionVerb tree_of(const Verb& verb) {
  CompletionVerb tree{.name = verb.name, .purpose = verb.purpose};
  verb.describe([&](const CLI::App& app) {
    for (const CLI::Option* option : app.get_options()) {
      if (!option->nonpositional()) continue;
      CompletionFlag flag{.names = {},
                          .purpose = option->get_description(),
                          .takes_value = option->get_items_expected_min() > 0,
                          .values = {}};
      for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
      for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
      if (const auto known = kValues.find(flag.names.front()); known != kValues.end()) flag.values = known->second;
      if (const auto rivals = kRivals.find(tree.name); rivals != kRivals.end() && flag.names.front() == "--against")
        flag.values = rivals->second;
      tree.flags.push_back(std::move(flag));
    }
  });
  if (tree.name == "run" || tree.name == "doctor") tree.runs_program = true;
  if (tree.name == "ckpt") tree.words = {"ls", "show", "verify", "export"};
  if (tree.name == "secret") tree.words = {"new"};
  if (tree.name == "completion") tree.words = kShells;
  if (tree.name == "explain" || tree.name == "logs") tree.words = {"latest"};
  if (tree.name == "schedule") {
    for (const comm::Algorithm& algorithm : comm::algorithms()) tree.words.emplace_back(algorithm.name);
  }
  tree.asks = kAskable.contains(tree.name);
  if (tree.name == "bench") {
    tree.parts = {tree_of({"train", "nets, beside PyTorch", bench_train_command, describe_bench_train}),
                  tree_of({"start", "how soon ranks run", bench_start_command, describe_bench_start})};
    tree.parts[0].asks = false;
  }
  return tree;
}

/// The words that begin the lines of a list: recipes, operations. A recipe's settings stand below it.
std::set<std::string> words_in(const std::string& list) {
  std::set<std::string> words;
  std::istringstream stream(list);
  for (std::string line; std::getline(stream, line);) {
    std::string word;
    std::istringstream(line) >> word;
    const size_t equals = word.find('=');
    const bool summary = line.starts_with("  ") && equals == std::string::npos;
    if (!word.empty() && !summary) words.insert(word.substr(0, equals == std::string::npos ? equals : equals + 1));
  }
  return words;
}

/// What only other programs know. Asked while a word is being typed: so no error is shown.
int words_of(const std::string& verb) {
  if (kOfRuns.contains(verb)) {
    for (const RunDoor& run : live_runs()) std::printf("%s\n", run.run.c_str());
    return kExitOk;
  }
  const auto program = verb == "train" ? find_trainer() : find_part("rondo-comm-bench");
  if (!program.ok()) return kExitPreflight;
  const auto answer = ask({*program, "--list"});
  if (!answer.ok() || answer->exit_code != kExitOk) return kExitPreflight;
  for (const std::string& word : words_in(answer->output)) std::printf("%s\n", word.c_str());
  return kExitOk;
}

void add_flags(CLI::App& app, std::string& shell, std::string& words) {
  app.add_option("shell", shell);
  app.add_option("--words", words,
                 "what may follow a verb: recipes, settings, operations, live runs; the scripts ask it")
      ->type_name("VERB")
      ->check(CLI::IsMember(kAskable));
  set_usage(app, "rondo completion bash|zsh|fish");
}

}  // namespace

void describe_completion(const DescribeVerb& take) {
  CLI::App app("A script that completes verbs and flags.", "rondo completion");
  std::string shell, words;
  add_flags(app, shell, words);
  take(app);
}

int completion_command(const std::vector<std::string>& arguments) {
  CLI::App app("A script that completes verbs and flags.", "rondo completion");
  app.allow_extras();
  app.footer(kFooter);
  std::string shell, words;
  add_flags(app, shell, words);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  if (!words.empty()) return words_of(words);
  if (shell.empty()) return usage_error(app, "for which shell? There are bash, zsh and fish");
  std::vector<CompletionVerb> verbs;
  for (const Verb& verb : all_verbs()) verbs.push_back(tree_of(verb));
  if (shell == "bash") {
    std::fputs(bash_completion(verbs).c_str(), stdout);
  } else if (shell == "zsh") {
    std::fputs(zsh_completion(verbs).c_str(), stdout);
  } else if (shell == "fish") {
    std::fputs(fish_completion(verbs).c_str(), stdout);
  } else {
    return usage_error(app,
                       "unknown shell '" + shell + "'" + suggestion(shell, kShells) + "; there are bash, zsh and fish");
  }
  return kExitOk;
}

}  // namespace rondo::launcher
