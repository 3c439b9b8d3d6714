/// One line of `rondo doctor`: what was looked at, the verdict, and the cure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace rondo::launcher {

enum class Grade { kGood, kNote, kWarning, kBad };  // kNote: only worth knowing

struct Diagnosis {
  std::string subject;  // "open files"
  Grade verdict = Grade::kGood;
  std::string text;
  std::string cure;  // of warnings and what is bad
  bool operator==(const Diagnosis&) const = default;
};

/// A line for each, the cure below: "[ good ] open files: 1048576".
std::string diagnoses_text(const std::vector<Diagnosis>& diagnoses);
/// {"verdict": "warning", "diagnoses": [{"subject", "verdict", "text", "cure"}]}; the verdict is the worst.
std::string diagnoses_json(const std::vector<Diagnosis>& diagnoses);
/// [{"subject", "verdict", "text", "cure"}] and back; the latter throws nlohmann's exceptions.
nlohmann::ordered_json as_json(const std::vector<Diagnosis>& diagnoses);
std::vector<Diagnosis> diagnoses_of(const nlohmann::ordered_json& json);
const char* name_of(Grade verdict);
Grade worst(const std::vector<Diagnosis>& diagnoses);

}  // namespace rondo::launcher
