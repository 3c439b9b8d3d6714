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

const char* name_of(Grade verdict) {
  switch (verdict) {
    case Grade::kGood:
      return "good";
    case Grade::kNote:
      return "note";
    case Grade::kWarning:
      return "warning";
    case Grade::kBad:
      return "bad";
  }
  return "";
}

Grade worst(const std::vector<Diagnosis>& diagnoses) {
  Grade verdict = Grade::kGood;
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
        .subject = entry.at("subject"), .verdict = Grade::kBad, .text = entry.at("text"), .cure = entry.at("cure")};
    for (const Grade verdict : {Grade::kGood, Grade::kNote, Grade::kWarning})
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
