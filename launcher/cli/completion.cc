#include "launcher/cli/completion.h"

#include <algorithm>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::vector<std::string> flag_names(const CompletionVerb& verb, bool with_value_only) {
  std::vector<std::string> names;
  for (const CompletionFlag& flag : verb.flags) {
    if (with_value_only && !flag.takes_value) continue;
    names.insert(names.end(), flag.names.begin(), flag.names.end());
  }
  return names;
}

/// For zsh's _arguments: no brackets, colons or quotes.
std::string plain(std::string text) {
  for (char& c : text) {
    if (c == '[' || c == '(') c = '<';
    if (c == ']' || c == ')') c = '>';
    if (c == ':') c = ';';
    if (c == '\'' || c == '`' || c == '"' || c == '\\' || c == '$') c = ' ';
  }
  return text;
}

}  // namespace

std::string bash_completion(const std::vector<CompletionVerb>& verbs) {
  std::vector<std::string> names;
  for (const CompletionVerb& verb : verbs) names.push_back(verb.name);
  std::string text =
      "# rondo for bash: eval \"$(rondo completion bash)\"\n"
      "_rondo() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]-} flags= values= words= program= at\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '" +
      joined(names, " ") +
      " --help --version' -- \"$word\")\n"
      "    return\n"
      "  fi\n"
      "  case $verb in\n";
  for (const CompletionVerb& verb : verbs) {
    text += "    " + verb.name + ") flags='" + joined(flag_names(verb, false), " ") + "' values=' " +
            joined(flag_names(verb, true), " ") + " ' words='" + joined(verb.words, " ") + "'" +
            (verb.runs_program ? " program=1" : "") + " ;;\n";
  }
  return text +
         "  esac\n"
         "  # Behind the program of `rondo run` the words are the program's own.\n"
         "  if [ -n \"$program\" ]; then\n"
         "    for ((at = 2; at < COMP_CWORD; ++at)); do\n"
         "      case ${COMP_WORDS[at]} in\n"
         "        --) ((++at)); break ;;\n"
         "        =) ((++at)) ;;\n"
         "        -*) case $values in *\" ${COMP_WORDS[at]//_/-} \"*) [ \"${COMP_WORDS[at + 1]-}\" = = ] || ((++at)) "
         ";; esac ;;\n"
         "        *) break ;;\n"
         "      esac\n"
         "    done\n"
         "    if [ \"$at\" -lt \"$COMP_CWORD\" ]; then mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return; fi\n"
         "  fi\n"
         "  # A file name may be the value of any flag that takes one.\n"
         "  case $values in *\" ${COMP_WORDS[COMP_CWORD - 1]//_/-} \"*) mapfile -t COMPREPLY < <(compgen -f -- "
         "\"$word\"); return ;; esac\n"
         "  case $word in\n"
         "    -*) mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$word\") ;;\n"
         "    *) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\"; [ -z \"$program\" ] || compgen -c -- "
         "\"$word\"; compgen -f -- \"$word\") ;;\n"
         "  esac\n"
         "}\n"
         "complete -o filenames -F _rondo rondo\n";
}

std::string zsh_completion(const std::vector<CompletionVerb>& verbs) {
  std::string text =
      "#compdef rondo\n"
      "# rondo for zsh: rondo completion zsh > a folder of $fpath, as _rondo\n"
      "_rondo() {\n"
      "  local -a verbs\n"
      "  verbs=(\n";
  for (const CompletionVerb& verb : verbs) text += "    '" + verb.name + ":" + plain(verb.purpose) + "'\n";
  text +=
      "  )\n"
      "  if (( CURRENT == 2 )); then _describe verb verbs; return; fi\n"
      "  local verb=$words[2]\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $verb in\n";
  for (const CompletionVerb& verb : verbs) {
    text += "    " + verb.name + ")\n      _arguments -S \\\n";
    for (const CompletionFlag& flag : verb.flags) {
      for (const std::string& name : flag.names) {
        const bool assigns = flag.takes_value && name.starts_with("--");
        text += "        '" + name + (assigns ? "=" : "") + "[" + plain(flag.purpose) + "]" +
                (flag.takes_value ? ":value:_files" : "") + "' \\\n";
      }
    }
    if (!verb.words.empty()) text += "        '1:word:(" + joined(verb.words, " ") + ")' \\\n";
    text += verb.runs_program ? "        '1:program:_command_names -e' '*::arguments:_normal' ;;\n"
                              : "        '*:word:_files' ;;\n";
  }
  return text + "  esac\n}\n_rondo \"$@\"\n";
}

std::string fish_completion(const std::vector<CompletionVerb>& verbs) {
  std::string text = "# rondo for fish: rondo completion fish > ~/.config/fish/completions/rondo.fish\n";
  for (const CompletionVerb& verb : verbs) {
    text += "complete -c rondo -f -n __fish_use_subcommand -a " + verb.name + " -d " +
            shell_quoted(plain(verb.purpose)) + "\n";
  }
  for (const CompletionVerb& verb : verbs) {
    const std::string here = "complete -c rondo -n '__fish_seen_subcommand_from " + verb.name + "' ";
    for (const CompletionFlag& flag : verb.flags) {
      text += here;
      for (const std::string& name : flag.names)
        text += name.starts_with("--") ? "-l " + name.substr(2) + " " : "-s " + name.substr(1) + " ";
      text += (flag.takes_value ? "-r " : "") + std::string("-d ") + shell_quoted(plain(flag.purpose)) + "\n";
    }
    if (!verb.words.empty()) text += here + "-a " + shell_quoted(joined(verb.words, " ")) + "\n";
  }
  return text;
}

}  // namespace rondo::launcher
