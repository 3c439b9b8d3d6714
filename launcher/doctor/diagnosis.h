/// One line of `rondo doctor`: what was looked at, the verdict, and the cure.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

enum class Verdict { kGood, kNote, kWarning, kBad };  // kNote: only worth knowing

struct Diagnosis {
  std::string subject;  // "open files"
  Verdict verdict = Verdict::kGood;
  std::string text;
  std::string cure;  // of warnings and what is bad
};

/// A line for each, the cure below: "[ good ] open files: 1048576".
std::string diagnoses_text(const std::vector<Diagnosis>& diagnoses);
/// {"verdict": "warning", "diagnoses": [{"subject", "verdict", "text", "cure"}]}; the verdict is the worst.
std::string diagnoses_json(const std::vector<Diagnosis>& diagnoses);
Verdict worst(const std::vector<Diagnosis>& diagnoses);

}  // namespace rondo::launcher
