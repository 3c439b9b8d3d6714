/// What a check of a program found: for people as text, for programs as JSON, the same on every rank. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

/// kNote: worth knowing, or costs time. kWarning: probably not meant. kError: replicas part ways, or a weight is not
/// trained as the program says.
enum class Severity : uint8_t { kNote, kWarning, kError };

struct Finding {
  Severity severity = Severity::kNote;
  std::string topic;               // of check.h's list; does not change, programs may compare it
  std::vector<std::string> names;  // what it is about: "\"fc1.weight\" of fc1 (torch::nn::LinearImpl)"
  std::string what;                // sizes, strides, numbers
  std::string cause, cure;         // the likely cause, and what to do
  std::vector<int> ranks = {};     // where it is so, ascending
  bool operator==(const Finding&) const = default;
};

struct Findings {
  int world_size = 1;
  std::vector<Finding> list = {};  // errors first

  bool operator==(const Findings&) const = default;
  int count(Severity severity) const;
  bool any_errors() const { return count(Severity::kError) > 0; }
  /// "check: 1 error, 1 note on 2 ranks", then a few lines for each.
  std::string text() const;
  /// {"schema": 1, "world_size": 2, "findings": [{severity, topic, names, what, cause, cure, ranks}]}, one line.
  std::string json() const;
};

}  // namespace rondo
