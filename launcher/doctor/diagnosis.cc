#include "launcher/doctor/diagnosis.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

std::string padded(std::string word, size_t width) {
  word.resize(std::max(width, word.size()), ' ');
  return word;
}

}  // namespace

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood:
      return "good";
    case Verdict::kNote:
      return "note";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kBad:
      return "bad";
  }
  return "";
}

Verdict worst(const std::vector<Diagnosis>& diagnoses) {
  Verdict verdict = Verdict::kGood;
  for (const Diagnosis& diagnosis : diagnoses) verdict = std::max(verdict, diagnosis.verdict);
  return verdict;
}

std::string diagnoses_text(const std::vector<Diagnosis>& diagnoses) {
  std::string text;
  for (const Diagnosis& diagnosis : diagnoses) {
    text += "[" + padded(name_of(diagnosis.verdict), 7) + "] " + diagnosis.subject + ": " + printable(diagnosis.text) +
            "\n";
    if (!diagnosis.cure.empty()) text += "          " + printable(diagnosis.cure) + "\n";
  }
  return text;
}

nlohmann::ordered_json as_json(const std::vector<Diagnosis>& diagnoses) {
  auto json = nlohmann::ordered_json::array();
  for (const Diagnosis& diagnosis : diagnoses) {
    json.push_back({{"subject", diagnosis.subject},
                    {"verdict", name_of(diagnosis.verdict)},
                    {"text", diagnosis.text},
                    {"cure", diagnosis.cure}});
  }
  return json;
}

std::vector<Diagnosis> diagnoses_of(const nlohmann::ordered_json& json) {
  std::vector<Diagnosis> diagnoses;
  for (const auto& entry : json) {
    Diagnosis diagnosis{
        .subject = entry.at("subject"), .verdict = Verdict::kBad, .text = entry.at("text"), .cure = entry.at("cure")};
    for (const Verdict verdict : {Verdict::kGood, Verdict::kNote, Verdict::kWarning})
      if (entry.at("verdict") == name_of(verdict)) diagnosis.verdict = verdict;
    diagnoses.push_back(std::move(diagnosis));
  }
  return diagnoses;
}

std::string diagnoses_json(const std::vector<Diagnosis>& diagnoses) {
  const nlohmann::ordered_json json{{"verdict", name_of(worst(diagnoses))}, {"diagnoses", as_json(diagnoses)}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace rondo::launcher
