/// The keys of a recipe: their types, defaults and meaning, and the values of one run, checked before anything starts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace rondo::trainer {

enum class KeyType : uint8_t {
  kInteger,
  kNumber,
  kBytes,   // "25MiB", "64KiB", "1000"
  kSwitch,  // on, off
  kChoice,
  kText,
};

/// Whether a value counts once for the job or once for each rank.
enum class Scope : uint8_t { kGlobal, kPerRank };

struct KeySpec {
  std::string name;
  KeyType type = KeyType::kText;
  std::string default_value;
  std::string help;
  Scope scope = Scope::kGlobal;
  double least = 0, most = 0;             // kInteger, kNumber, kBytes: inclusive bounds
  std::vector<std::string> choices = {};  // kChoice

  std::string type_name() const;   // "integer", "on|off", "auto|tcp"
  std::string scope_name() const;  // "global", "per rank"
};

/// "25MiB" -> 26214400. Units B, KiB, MiB, GiB, kB, MB, GB. Throws rondo::Error (kUsage) naming `key`.
int64_t parse_bytes(const std::string& key, const std::string& text);

/// The candidate with the smallest edit distance to `word`; empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// Values of all keys of one recipe, in canonical form.
class Settings {
 public:
  /// All defaults.
  Settings(std::string recipe, std::vector<KeySpec> keys);

  /// Sets one key. Throws rondo::Error (kUsage): an unknown key with the nearest name, or a value that does not fit.
  void set(const std::string& key, const std::string& value);
  /// Sets keys from "key=value".
  void set_assignment(const std::string& assignment);

  int64_t integer(const std::string& key) const;  // kInteger, kBytes
  double number(const std::string& key) const;
  bool on(const std::string& key) const;
  const std::string& text(const std::string& key) const;

  /// Canonical texts by key.
  const std::map<std::string, std::string>& values() const { return values_; }
  const std::vector<KeySpec>& keys() const { return keys_; }
  /// `key = value` lines in the keys' order.
  std::string toml() const;

 private:
  const KeySpec& spec(const std::string& key) const;
  std::string recipe_;
  std::vector<KeySpec> keys_;
  std::map<std::string, std::string> values_;
};

/// A TOML basic string, quoted.
std::string toml_text(const std::string& text);

}  // namespace rondo::trainer
