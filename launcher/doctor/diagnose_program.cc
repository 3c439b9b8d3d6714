#include "launcher/doctor/diagnose_program.h"

#include <stdlib.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/coordinator/job.h"
#include "launcher/doctor/scratch.h"

namespace rondo::launcher {
namespace {

using Json = nlohmann::ordered_json;

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What of a model's training was looked at.
std::string extent(const Json& model, bool program_ended) {
  if (model.at("done").get<bool>()) return "looked at the first step and after 2 more";
  if (model.at("looks").get<int>() == 0) return "no step point was reached, so that nothing was looked at";
  if (model.at("errors").get<int>() > 0) return "looked at the first step, and ended there because of its errors";
  return program_ended ? "the program ended before its third step: looked at the first step only"
                       : "not stepped often enough: looked at the first step only";
}

/// Why there is nothing to say about its training; empty when there is.
Diagnosis obstacle(const ProgramReport& report, const Json& check) {
  Diagnosis found{.subject = "program", .verdict = Grade::kBad, .text = {}, .cure = {}};
  const std::string ended = report.program_code == 0 ? "it ended well, but " : "it failed (above), and ";
  if (check.is_null()) {
    found.text = ended + "never called rondo::init: nothing of its training was looked at";
    found.cure = "name a program that trains with Rondo, as `rondo run` is given it, and check its arguments";
  } else if (check.at("models").empty()) {
    found.text = ended + "wrapped no model: nothing of its training was looked at";
    found.cure = "rondo::DistributedDataParallel ddp(job, *model); have the program come to it with these arguments";
  } else {
    for (const Json& model : check.at("models"))
      if (model.at("looks").get<int>() > 0) return {.subject = "program", .text = {}, .cure = {}};
    found.text = ended + "reached no step point: nothing of its training was looked at";
    found.cure = "each step ends in step() of a rondo::Optimizer, or in ddp.step(optimizer)";
  }
  return found;
}

constexpr const char* kNotLookedAt =
    "not looked at: the loss and samplers; rondo::check() in the program takes both (rondo/check.h)\n";

}  // namespace

ProgramVerdict judge(const ProgramReport& report) {
  Json check;  // null
  if (!report.check_json.empty()) check = Json::parse(report.check_json, nullptr, false);
  ProgramVerdict verdict{.text = report.program + " on " + counted(static_cast<size_t>(report.ranks), "rank") + "\n",
                         .json = {},
                         .exit_code = report.program_code};
  Json json{{"verdict", "good"}, {"program", report.program}, {"ranks", report.ranks}};
  json["exit_code"] = report.program_code;
  json["models"] = Json::array();
  json["diagnoses"] = Json::array();
  try {
    if (const Diagnosis found = obstacle(report, check); !found.text.empty()) {
      verdict.text += diagnoses_text({found});
      if (report.program_code == 0) verdict.exit_code = kExitPreflight;
      json["verdict"] = name_of(found.verdict);
      json["diagnoses"] = as_json({found});
    } else {
      const Json& models = check.at("models");
      bool errors = false, findings = false;
      for (size_t i = 0; i < models.size(); ++i) {
        const std::string looked = extent(models[i], !check.at("complete").get<bool>());
        if (models.size() > 1) verdict.text += "model " + std::to_string(i + 1) + ", in the order of wrapping\n";
        verdict.text += looked + "\n";
        if (models[i].at("looks").get<int>() > 0) verdict.text += models[i].at("text").get<std::string>();
        errors = errors || models[i].at("errors").get<int>() > 0;
        findings = findings || !models[i].at("check").at("findings").empty();
        json["models"].push_back({{"looked", looked}, {"check", models[i].at("check")}});
      }
      verdict.text += kNotLookedAt;
      if (errors) verdict.exit_code = kExitPreflight;
      json["verdict"] = name_of(errors ? Grade::kBad : findings ? Grade::kWarning : Grade::kGood);
    }
  } catch (const Json::exception& error) {
    verdict.text += "what it wrote cannot be read: is it built with another version of Rondo? (" +
                    std::string(error.what()) + ")\n";
    verdict.exit_code = kExitCorrupt;
    json["verdict"] = name_of(Grade::kBad);
  }
  verdict.json = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return verdict;
}

int diagnose_program(const ProgramDoctor& doctor) {
  const Scratch scratch;
  const auto print = [&](const std::string& text, const std::string& json) {
    std::fputs((doctor.output == ProgramDoctor::Output::kJson ? json : text).c_str(), stdout);
  };
  if (!scratch.made()) {
    const std::vector<Diagnosis> refusal{scratch.refusal("program")};
    print(diagnoses_text(refusal), diagnoses_json(refusal));
    return kExitPreflight;
  }
  std::vector<std::string> typed{"--program", "--"};
  typed.insert(typed.end(), doctor.words.begin(), doctor.words.end());
  ::setenv("RONDO_CHECK", scratch.path().c_str(), 1);  // the ranks inherit it
  JobRequest job;
  job.program = doctor.path;
  job.arguments = doctor.words;
  job.ranks = doctor.ranks;
  for (int rank = 0; rank < doctor.ranks; ++rank) job.display.hidden.insert({rank, Channel::kOutput});
  job.folder = scratch.run_folder(typed);
  const auto code = run_job(job);
  if (!code.ok()) {
    std::fprintf(stderr, "rondo doctor: %s\n", code.status().message().c_str());
    return exit_code_of(code.status());
  }
  const ProgramVerdict verdict = judge({.program = doctor.words[0],
                                        .ranks = doctor.ranks,
                                        .program_code = *code,
                                        .check_json = contents(scratch.path() + "/check.json")});
  print(verdict.text, verdict.json);
  return verdict.exit_code;
}

}  // namespace rondo::launcher
