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

/// Parts carry the verb's name before their own.
std::string scope_of(const CompletionVerb& verb, const CompletionVerb* part) {
  return part == nullptr ? verb.name : verb.name + " " + part->name;
}

std::vector<std::string> first_words(const CompletionVerb& verb) {
  std::vector<std::string> words = verb.words;
  for (const CompletionVerb& part : verb.parts) words.push_back(part.name);
  return words;
}

/// What a verb, or a part of it, has: a line of `case` in bash.
std::string bash_case(const CompletionVerb& verb, const std::string& scope) {
  return "    '" + scope + "') scope='" + scope + "' flags='" + joined(flag_names(verb, false), " ") + "' values=' " +
         joined(flag_names(verb, true), " ") + " ' words='" + joined(first_words(verb), " ") + "'" +
         (verb.runs_program ? " program=1" : "") + " ;;\n";
}

/// A line of `case` for each flag of which the values are known.
std::string bash_values(const CompletionVerb& verb, const std::string& scope) {
  std::string text;
  for (const CompletionFlag& flag : verb.flags) {
    if (flag.values.empty()) continue;
    std::string patterns;
    for (const std::string& name : flag.names) patterns += (patterns.empty() ? "'" : " | '") + scope + " " + name + "'";
    text += "    " + patterns + ") mapfile -t COMPREPLY < <(compgen -W '" + joined(flag.values, " ") +
            "' -- \"$word\"); return ;;\n";
  }
  return text;
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

/// A flag for _arguments, a line for each of its names.
std::string zsh_flag(const CompletionFlag& flag) {
  std::string text;
  for (const std::string& name : flag.names) {
    const bool assigns = flag.takes_value && name.starts_with("--");
    text += "        '" + name + (assigns ? "=" : "") + "[" + plain(flag.purpose) + "]";
    if (flag.takes_value) text += flag.values.empty() ? ":value:_files" : ":value:(" + joined(flag.values, " ") + ")";
    text += "' \\\n";
  }
  return text;
}

std::string zsh_parts(const std::vector<CompletionVerb>& verbs) {
  std::string text;
  for (const CompletionVerb& verb : verbs) {
    for (const CompletionVerb& part : verb.parts) {
      const std::string scope = scope_of(verb, &part);
      text += "      '" + scope + "') verb='" + scope + "'; shift words; (( CURRENT-- )) ;;\n";
    }
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
      "  local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]-} flags= values= words= program= scope= at before\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '" +
      joined(names, " ") +
      " --help --version' -- \"$word\")\n"
      "    return\n"
      "  fi\n"
      "  case $verb in\n";
  std::string asking, known;
  for (const CompletionVerb& verb : verbs) {
    text += bash_case(verb, verb.name);
    if (verb.asks) asking += (asking.empty() ? "" : " | ") + verb.name;
    known += bash_values(verb, verb.name);
  }
  text += "  esac\n  case \"$verb ${COMP_WORDS[2]-}\" in\n";
  for (const CompletionVerb& verb : verbs) {
    for (const CompletionVerb& part : verb.parts) {
      text += bash_case(part, scope_of(verb, &part));
      known += bash_values(part, scope_of(verb, &part));
    }
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
         "  before=${COMP_WORDS[COMP_CWORD - 1]//_/-}\n"
         "  # readline hands over --flag=value as three words.\n"
         "  if [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD - 2]//_/-}; elif [ \"$word\" = = ]; then "
         "word=; "
         "fi\n"
         "  case \"$scope $before\" in\n" +
         known +
         "  esac\n"
         "  # A file name may be the value of any other flag that takes one.\n"
         "  case $values in *\" $before \"*) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;; esac\n"
         "  case $word in\n"
         "    -*) mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$word\"); return ;;\n"
         "  esac\n"
         "  case $scope in " +
         asking +
         ") words+=\" $(\"${COMP_WORDS[0]}\" completion --words \"$verb\" 2>/dev/null)\" ;; esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\"; [ -z \"$program\" ] || compgen -c -- "
         "\"$word\"; compgen -f -- \"$word\")\n"
         "  # A setting's value follows at once: epochs=3.\n"
         "  case ${#COMPREPLY[@]}${COMPREPLY[0]-} in 1*=) compopt -o nospace 2>/dev/null ;; esac\n"
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
      "  if (( CURRENT > 2 )); then\n"
      "    case \"$verb $words[2]\" in\n" +
      zsh_parts(verbs) +
      "    esac\n"
      "  fi\n"
      "  case $verb in\n";
  const auto add = [&](const CompletionVerb& verb, const std::string& scope) {
    text += "    '" + scope + "')\n      _arguments -S \\\n";
    for (const CompletionFlag& flag : verb.flags) text += zsh_flag(flag);
    const std::vector<std::string> words = first_words(verb);
    if (verb.asks) {
      text += "        '1:word:{compadd -- " + joined(words, " ") + " $(rondo completion --words " + verb.name +
              " 2>/dev/null)}' \\\n";
    } else if (!words.empty()) {
      text += "        '1:word:(" + joined(words, " ") + ")' \\\n";
    }
    text += verb.runs_program ? "        '1:program:_command_names -e' '*::arguments:_normal' ;;\n"
                              : "        '*:word:_files' ;;\n";
  };
  for (const CompletionVerb& verb : verbs) {
    add(verb, verb.name);
    for (const CompletionVerb& part : verb.parts) add(part, scope_of(verb, &part));
  }
  return text + "  esac\n}\n_rondo \"$@\"\n";
}

std::string fish_completion(const std::vector<CompletionVerb>& verbs) {
  std::string text = "# rondo for fish: rondo completion fish > ~/.config/fish/completions/rondo.fish\n";
  for (const CompletionVerb& verb : verbs) {
    text += "complete -c rondo -f -n __fish_use_subcommand -a " + verb.name + " -d " +
            shell_quoted(plain(verb.purpose)) + "\n";
  }
  const auto add = [&](const CompletionVerb& verb, const std::string& where) {
    const std::string here = "complete -c rondo -n '" + where + "' ";
    for (const CompletionFlag& flag : verb.flags) {
      text += here;
      for (const std::string& name : flag.names)
        text += name.starts_with("--") ? "-l " + name.substr(2) + " " : "-s " + name.substr(1) + " ";
      if (flag.takes_value) text += "-r ";
      if (!flag.values.empty()) text += "-f -a " + shell_quoted(joined(flag.values, " ")) + " ";
      text += "-d " + shell_quoted(plain(flag.purpose)) + "\n";
    }
    const std::vector<std::string> words = first_words(verb);
    if (verb.asks) {
      text += here + "-a " + shell_quoted(joined(words, " ") + " (rondo completion --words " + verb.name + ")") + "\n";
    } else if (!words.empty()) {
      text += here + "-a " + shell_quoted(joined(words, " ")) + "\n";
    }
  };
  for (const CompletionVerb& verb : verbs) {
    std::string where = "__fish_seen_subcommand_from " + verb.name;
    for (const CompletionVerb& other : verbs) {  // `rondo bench train` is not `rondo train`
      for (const CompletionVerb& part : other.parts)
        if (part.name == verb.name) where += "; and not __fish_seen_subcommand_from " + other.name;
    }
    add(verb, where);
    for (const CompletionVerb& part : verb.parts)
      add(part, "__fish_seen_subcommand_from " + verb.name + "; and __fish_seen_subcommand_from " + part.name);
  }
  return text;
}

}  // namespace rondo::launcher
