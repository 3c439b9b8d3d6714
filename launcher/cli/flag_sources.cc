#include "launcher/cli/flag_sources.h"

#include <unistd.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>

#include "launcher/cli/nearest_name.h"

namespace rondo::launcher {
namespace {

constexpr const char* kCommandLine = "command line";

/// What only makes sense typed.
bool only_typed(const std::string& flag) {
  static constexpr std::array kTyped{"help", "help-all", "config", "dry-run", "print-config", "json"};
  return std::ranges::find(kTyped, flag) != kTyped.end();
}

std::string upper_name(std::string flag) {
  for (char& c : flag) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return flag;
}

std::string key_of(std::string flag) {
  std::ranges::replace(flag, '-', '_');
  return flag;
}

comm::Status wrong(std::string message) { return {comm::Code::kInvalidArgument, std::move(message)}; }

struct Found {
  std::string value, origin;
};
using Layer = std::map<std::string, Found>;  // by flag

bool is_switch(const CLI::Option& option) { return option.get_items_expected_min() == 0; }

/// "1", "yes" ... as "true".
std::optional<std::string> switch_value(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* yes : {"1", "true", "yes", "on"})
    if (text == yes) return "true";
  for (const char* no : {"0", "false", "no", "off"})
    if (text == no) return "false";
  return std::nullopt;
}

/// One value of a file as the flag would be typed; empty: a type that no flag takes.
std::optional<std::string> typed(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) return text;
  if (const auto truth = node.value_exact<bool>()) return *truth ? "true" : "false";
  if (const auto number = node.value_exact<int64_t>()) return std::to_string(*number);
  if (const auto number = node.value_exact<double>()) {
    std::ostringstream text;
    text << *number;
    return text.str();
  }
  if (const toml::array* list = node.as_array()) {
    std::string joined;
    for (const toml::node& item : *list) {
      const auto word = typed(item);
      if (!word) return std::nullopt;
      joined += (joined.empty() ? "" : ",") + *word;
    }
    return joined;
  }
  return std::nullopt;
}

struct ConfigFile {
  Layer layer;
  std::vector<std::string> command;
};

comm::Result<ConfigFile> read_config(const std::string& path, const std::string& table,
                                     const std::map<std::string, std::string>& flag_of_key) {
  ConfigFile file;
  toml::table content;
  try {
    content = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    return wrong("--config " + path + (line > 0 ? " line " + std::to_string(line) : "") + ": " +
                 std::string(error.description()));
  }
  std::vector<std::string> keys{"command", "program"};
  for (const auto& [key, flag] : flag_of_key) keys.push_back(key);
  for (const auto& [name, section] : content) {
    if (name.str() != table)
      return wrong("--config " + path + ": unknown key '" + std::string(name.str()) + "'; flags are in the table [" +
                   table + "]");
  }
  const toml::table* flags = content[table].as_table();
  if (flags == nullptr) return wrong("--config " + path + ": there is no table [" + table + "]");
  for (const auto& [name, value] : *flags) {
    const std::string written(name.str()), key = key_of(written);
    const std::string where = path + " line " + std::to_string(name.source().begin.line);
    if (key == "program") continue;  // the path found then; the command says it, too
    if (key == "command") {
      if (const toml::array* words = value.as_array()) {
        for (const toml::node& word : *words) file.command.push_back(word.value_or(std::string()));
        continue;
      }
      return wrong("--config " + where + ": command is a list of words: the program and its arguments");
    }
    const auto flag = flag_of_key.find(key);
    if (flag == flag_of_key.end())
      return wrong("--config " + where + ": unknown key '" + written + "'" + suggestion(key, keys));
    const auto text = typed(value);
    if (!text)
      return wrong("--config " + where + ": " + written + " is a number, a text, true, false or a list of them");
    if (!text->empty()) file.layer[flag->second] = {*text, where};
  }
  return file;
}

Layer typed_layer(const CLI::App& app, const std::vector<std::string>& words) {
  Layer layer;
  for (size_t at = 0; at < words.size(); ++at) {
    const size_t equals = words[at].find('=');
    const CLI::Option* option = app.get_option_no_throw(words[at].substr(0, equals));
    if (option == nullptr) continue;
    std::string value = "true";
    if (equals != std::string::npos) {
      value = words[at].substr(equals + 1);
    } else if (!is_switch(*option)) {
      if (at + 1 == words.size()) continue;  // CLI11 says what is missing
      value = words[++at];
    }
    layer[option->get_lnames().front()] = {value, kCommandLine};
  }
  return layer;
}

/// A slip away from the variable of a flag. Others may be a user's own, or those of Rondo's programs.
bool mistyped(const std::string& name, const std::vector<std::string>& known) {
  constexpr std::string_view kOurs = "RONDO_";
  if (!name.starts_with(kOurs)) return false;
  const size_t most = std::min<size_t>(2, (name.size() - kOurs.size()) / 4);
  return std::ranges::any_of(known, [&](const std::string& flag) { return edit_distance(name, flag) <= most; });
}

std::vector<std::string> doubtful_variables(const std::vector<std::string>& known) {
  std::vector<std::string> notes;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string name(text.substr(0, text.find('=')));
    if (std::ranges::find(known, name) != known.end()) continue;
    if (name.starts_with("PET_") || mistyped(name, known))
      notes.push_back("the variable " + name + " is no flag of `rondo run`" + suggestion(name, known));
  }
  return notes;
}

}  // namespace

std::vector<std::string> FlagSources::variables_of(const std::string& flag) {
  if (only_typed(flag)) return {};
  const std::string name = upper_name(flag);
  if (flag == "run-dir") return {"PET_" + name};  // RONDO_RUN_DIR is what the agent tells its workers
  return {"RONDO_" + name, "PET_" + name};
}

comm::Result<FlagSources> FlagSources::resolve(const CLI::App& app, const std::vector<std::string>& words,
                                               const std::string& table, const Environment& environment) {
  FlagSources sources;
  std::map<std::string, std::string> flag_of_key;
  std::vector<const CLI::Option*> options;
  std::vector<std::string> variables;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty()) continue;
    const std::string& flag = option->get_lnames().front();
    options.push_back(option);
    if (!only_typed(flag)) flag_of_key[key_of(flag)] = flag;
    for (const std::string& variable : variables_of(flag)) variables.push_back(variable);
  }

  Layer found;
  const Layer from_words = typed_layer(app, words);
  for (size_t at = 0; at < words.size(); ++at) {  // every --config, in order
    const size_t equals = words[at].find('=');
    if (words[at].substr(0, equals) != "--config") continue;
    if (equals == std::string::npos && at + 1 == words.size()) break;
    auto file =
        read_config(equals == std::string::npos ? words[at + 1] : words[at].substr(equals + 1), table, flag_of_key);
    RONDO_TRY(file);
    for (auto& [flag, value] : file->layer) found[flag] = std::move(value);
    if (!file->command.empty()) sources.command_ = std::move(file->command);
  }
  for (const CLI::Option* option : options) {
    const std::string& flag = option->get_lnames().front();
    const std::vector<std::string> names = variables_of(flag);
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      const char* value = environment(name->c_str());
      if (value != nullptr && *value != '\0') found[flag] = {value, *name};
    }
  }
  for (const auto& [flag, value] : from_words) found[flag] = value;

  for (const CLI::Option* option : options) {
    const std::string& flag = option->get_lnames().front();
    const auto given = found.find(flag);
    FlagValue value{.flag = flag, .value = option->get_default_str(), .origin = "default"};
    value.kind = is_switch(*option) ? FlagValue::Kind::kSwitch : FlagValue::Kind::kText;
    if (value.kind == FlagValue::Kind::kSwitch) value.value = "false";
    if (given != found.end()) {
      value.value = given->second.value;
      value.origin = given->second.origin;
      if (value.kind == FlagValue::Kind::kSwitch) {
        const auto truth = switch_value(value.value);
        if (!truth) return wrong("--" + flag + " (from " + value.origin + ") is '" + value.value + "'; it is 1 or 0");
        value.value = *truth;
        if (*truth == "true") sources.words_.push_back("--" + flag);
      } else {
        sources.words_.push_back("--" + flag + "=" + value.value);
      }
    }
    sources.values_.push_back(std::move(value));
  }
  // A flag whose value is missing: CLI11 says so.
  if (!words.empty()) {
    const CLI::Option* last = app.get_option_no_throw(words.back());
    const bool alone = words.size() < 2 || app.get_option_no_throw(words[words.size() - 2]) == nullptr ||
                       is_switch(*app.get_option_no_throw(words[words.size() - 2]));
    if (last != nullptr && !is_switch(*last) && alone) sources.words_.push_back(words.back());
  }
  sources.notes_ = doubtful_variables(variables);
  return sources;
}

const FlagValue* FlagSources::find(const std::string& flag) const {
  const auto at = std::ranges::find(values_, flag, &FlagValue::flag);
  return at == values_.end() ? nullptr : &*at;
}

bool FlagSources::given(const std::string& flag) const {
  const FlagValue* value = find(flag);
  return value != nullptr && value->given() && value->value != "false";
}

std::vector<std::string> FlagSources::words_of_variables() const {
  std::vector<std::string> words;
  for (const FlagValue& value : values_) {
    const std::vector<std::string> names = variables_of(value.flag);
    if (std::ranges::find(names, value.origin) == names.end()) continue;
    if (value.kind == FlagValue::Kind::kText) words.push_back("--" + value.flag + "=" + value.value);
    if (value.kind == FlagValue::Kind::kSwitch && value.value == "true") words.push_back("--" + value.flag);
  }
  return words;
}

std::string FlagSources::with_origins(std::string message) const {
  for (const FlagValue& value : values_) {
    if (!value.given() || value.origin == kCommandLine) continue;
    std::string name = "--" + value.flag;
    const size_t at = message.find(name);
    const size_t end = at + name.size();
    if (at == std::string::npos || (end < message.size() && (message[end] == '-' || std::isalnum(message[end]))))
      continue;
    if (message.compare(end, value.value.size() + 1, " " + value.value) == 0) name += " " + value.value;
    message.insert(at + name.size(), " (from " + value.origin + ")");
  }
  return message;
}

}  // namespace rondo::launcher
