#include "trainer/recipes/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(message, ExitCode::kUsage); }

template <typename T>
std::optional<T> parse_whole(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// The shortest text that reads back as the same number.
std::string shortest(double value) {
  std::array<char, 64> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

std::string join(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      diagonal =
          std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)}));
    }
  }
  return row.back();
}

std::string bounds(const KeySpec& key) { return "from " + shortest(key.least) + " to " + shortest(key.most); }

/// The canonical text of `value`, or an error.
std::string canonical(const KeySpec& key, const std::string& value) {
  const std::string start = key.name + "=" + value + ": expected ";
  switch (key.type) {
    case KeyType::kInteger: {
      const auto parsed = parse_whole<int64_t>(value);
      if (!parsed || static_cast<double>(*parsed) < key.least || static_cast<double>(*parsed) > key.most)
        refuse(start + "an integer " + bounds(key));
      return std::to_string(*parsed);
    }
    case KeyType::kNumber: {
      const auto parsed = parse_whole<double>(value);
      if (!parsed || !std::isfinite(*parsed) || *parsed < key.least || *parsed > key.most)
        refuse(start + "a number " + bounds(key));
      return shortest(*parsed);
    }
    case KeyType::kBytes: {
      const int64_t parsed = parse_bytes(key.name, value);
      if (static_cast<double>(parsed) < key.least || static_cast<double>(parsed) > key.most)
        refuse(start + "a number of bytes " + bounds(key));
      return std::to_string(parsed);
    }
    case KeyType::kSwitch:
      for (const char* yes : {"on", "true", "1", "yes"}) {
        if (value == yes) return "on";
      }
      for (const char* no : {"off", "false", "0", "no"}) {
        if (value == no) return "off";
      }
      refuse(start + "on or off");
    case KeyType::kChoice: {
      if (std::ranges::find(key.choices, value) != key.choices.end()) return value;
      const std::string near = nearest(value, key.choices);
      refuse(start + "one of " + join(key.choices, ", ") + (near.empty() ? "" : "; did you mean " + near + "?"));
    }
    case KeyType::kText:
      if (value.empty()) refuse(start + "a text");
      return value;
  }
  refuse(start + "a value");
}

}  // namespace

std::string KeySpec::type_name() const {
  switch (type) {
    case KeyType::kInteger:
      return "integer";
    case KeyType::kNumber:
      return "number";
    case KeyType::kBytes:
      return "bytes";
    case KeyType::kSwitch:
      return "on|off";
    case KeyType::kChoice:
      return join(choices, "|");
    case KeyType::kText:
      return "text";
  }
  return "text";
}

std::string KeySpec::scope_name() const { return scope == Scope::kGlobal ? "global" : "per rank"; }

int64_t parse_bytes(const std::string& key, const std::string& text) {
  static constexpr std::array<std::pair<std::string_view, double>, 8> kUnits{
      {{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}};
  for (const auto& [unit, factor] : kUnits) {
    if (!text.ends_with(unit)) continue;
    const auto number = parse_whole<double>(std::string_view(text).substr(0, text.size() - unit.size()));
    constexpr double kMost = 1e18;
    if (!number || !(*number >= 0) || *number * factor > kMost || std::floor(*number * factor) != *number * factor)
      break;
    return static_cast<int64_t>(*number * factor);
  }
  refuse(key + "=" + text +
         ": expected a whole number of bytes such as 25MiB, 64KiB or 1000000 (units B, KiB, MiB, GiB, kB, MB, GB)");
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    if (const size_t distance = edit_distance(word, candidate); distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

Settings::Settings(std::string recipe, std::vector<KeySpec> keys) : recipe_(std::move(recipe)), keys_(std::move(keys)) {
  for (const KeySpec& key : keys_) values_[key.name] = canonical(key, key.default_value);
}

const KeySpec& Settings::spec(const std::string& key) const {
  const auto found = std::ranges::find(keys_, key, &KeySpec::name);
  if (found != keys_.end()) return *found;
  std::vector<std::string> names;
  for (const KeySpec& known : keys_) names.push_back(known.name);
  const std::string near = nearest(key, names);
  refuse("recipe " + recipe_ + " has no key \"" + key + "\"" +
         (near.empty() ? "" : "; did you mean \"" + near + "\"?") + " Its keys: " + join(names, ", "));
}

void Settings::set(const std::string& key, const std::string& value) { values_[key] = canonical(spec(key), value); }

void Settings::set_assignment(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) refuse("\"" + assignment + "\": expected key=value");
  set(assignment.substr(0, equals), assignment.substr(equals + 1));
}

int64_t Settings::integer(const std::string& key) const { return parse_whole<int64_t>(text(key)).value(); }
double Settings::number(const std::string& key) const { return parse_whole<double>(text(key)).value(); }
bool Settings::on(const std::string& key) const { return text(key) == "on"; }
const std::string& Settings::text(const std::string& key) const { return values_.at(key); }

std::string toml_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string Settings::toml() const {
  std::string text;
  for (const KeySpec& key : keys_) {
    std::string value = values_.at(key.name);
    if (key.type == KeyType::kSwitch) value = value == "on" ? "true" : "false";
    // A TOML float needs a point or an exponent.
    if (key.type == KeyType::kNumber && value.find_first_of(".e") == std::string::npos) value += ".0";
    if (key.type == KeyType::kChoice || key.type == KeyType::kText) value = toml_text(value);
    text += key.name + " = " + value + "\n";
  }
  return text;
}

}  // namespace rondo::trainer
