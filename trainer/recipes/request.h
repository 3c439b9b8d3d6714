/// What the command line of rondo-train asks for, before any recipe is looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo::trainer {

/// kCheck: two steps, to look for mistakes (rondo/check.h); nothing is kept.
enum class Mode : uint8_t { kTrain, kEvaluate, kCheck };

struct Request {
  enum class Action : uint8_t { kRun, kPlan, kList, kDumpOutputs, kLibTorch, kHelp } action = Action::kRun;
  Mode mode = Mode::kTrain;
  enum class Output : uint8_t { kText, kJson } output = Output::kText;
  std::string recipe;                    // as typed; empty: the resumed run's
  std::string resume;                    // run id, run folder, checkpoint folder or "latest"; empty: from the start
  std::string dump_file;                 // kDumpOutputs
  std::vector<std::string> assignments;  // key=value
};

/// Throws rondo::Error (kUsage) for unknown flags, with the nearest one.
Request parse_request(const std::vector<std::string>& arguments);

/// The text of --help.
std::string help_text();

}  // namespace rondo::trainer
