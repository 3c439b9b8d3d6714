#include <CLI/CLI.hpp>
#include <cstdio>

#include "launcher/base/exit_codes.h"
#include "launcher/cli/completion.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {
namespace {

const char* const kFooter =
    "examples:\n"
    "  eval \"$(rondo completion bash)\"                          for this shell; in ~/.bashrc for every one\n"
    "  rondo completion zsh > ~/.zfunc/_rondo                   a folder of $fpath\n"
    "  rondo completion fish > ~/.config/fish/completions/rondo.fish\n";

const std::vector<std::string> kShells{"bash", "zsh", "fish"};

CompletionVerb tree_of(const Verb& verb) {
  CompletionVerb tree{.name = verb.name, .purpose = verb.purpose, .flags = {}, .words = {}};
  verb.describe([&](const CLI::App& app) {
    for (const CLI::Option* option : app.get_options()) {
      if (!option->nonpositional()) continue;
      CompletionFlag flag{
          .names = {}, .purpose = option->get_description(), .takes_value = option->get_items_expected_min() > 0};
      for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
      for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
      tree.flags.push_back(std::move(flag));
    }
  });
  if (tree.name == "run") tree.runs_program = true;
  if (tree.name == "ckpt") tree.words = {"ls", "show", "verify", "export"};
  if (tree.name == "secret") tree.words = {"new"};
  if (tree.name == "completion") tree.words = kShells;
  if (tree.name == "explain") tree.words = {"latest"};
  return tree;
}

void add_flags(CLI::App& app, std::string& shell) {
  app.add_option("shell", shell);
  set_usage(app, "rondo completion bash|zsh|fish");
}

}  // namespace

void describe_completion(const DescribeVerb& take) {
  CLI::App app("A script that completes verbs and flags.", "rondo completion");
  std::string shell;
  add_flags(app, shell);
  take(app);
}

int completion_command(const std::vector<std::string>& arguments) {
  CLI::App app("A script that completes verbs and flags.", "rondo completion");
  app.allow_extras();
  app.footer(kFooter);
  std::string shell;
  add_flags(app, shell);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
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
