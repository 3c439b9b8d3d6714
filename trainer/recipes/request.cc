#include "trainer/recipes/request.h"

#include <algorithm>

#include "rondo/error.h"
#include "trainer/recipes/settings.h"

namespace rondo::trainer {

Request parse_request(const std::vector<std::string>& arguments) {
  static const std::vector<std::string> kFlags{"--plan",   "--list",         "--json",     "--eval-only", "--check",
                                               "--resume", "--dump-outputs", "--libtorch", "--help"};
  const auto refuse = [](const std::string& message) {
    throw Error("rondo-train: " + message + "; see rondo-train --help", ExitCode::kUsage);
  };
  // Where this rank stands, for rondo::init.
  static const std::vector<std::string> kPlaceFlags{"--rank", "--world-size", "--local-rank", "--local-world-size",
                                                    "--endpoint"};
  Request request;
  bool check = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string flag = arguments[i];
    std::string value;
    bool has_value = false;
    if (flag.starts_with("--")) {
      if (const size_t equals = flag.find('='); equals != std::string::npos) {
        value = flag.substr(equals + 1);
        flag.resize(equals);
        has_value = true;
      }
      std::ranges::replace(flag, '_', '-');
    }
    const bool is_place = std::ranges::find(kPlaceFlags, flag) != kPlaceFlags.end();
    const bool wants_value = is_place || flag == "--resume" || flag == "--dump-outputs";
    if (wants_value && !has_value) {
      if (i + 1 == arguments.size()) refuse(flag + " needs a value");
      value = arguments[++i];
    }
    if (!wants_value && has_value && std::ranges::find(kFlags, flag) != kFlags.end()) refuse(flag + " takes no value");
    if (wants_value && value.empty()) refuse(flag + " needs a value");
    if (is_place) continue;
    if (flag == "--plan")
      request.action = Request::Action::kPlan;
    else if (flag == "--list")
      request.action = Request::Action::kList;
    else if (flag == "--libtorch")
      request.action = Request::Action::kLibTorch;
    else if (flag == "--help" || flag == "-h")
      request.action = Request::Action::kHelp;
    else if (flag == "--json")
      request.output = Request::Output::kJson;
    else if (flag == "--eval-only")
      request.mode = Mode::kEvaluate;
    else if (flag == "--check")
      check = true;
    else if (flag == "--resume")
      request.resume = value;
    else if (flag == "--dump-outputs") {
      request.action = Request::Action::kDumpOutputs;
      request.mode = Mode::kEvaluate;
      request.dump_file = value;
    } else if (flag.starts_with("-")) {
      const std::string near = nearest(flag, kFlags);
      refuse("unknown flag " + flag + (near.empty() ? "" : ", did you mean " + near + "?"));
    } else if (flag.find('=') != std::string::npos) {
      request.assignments.push_back(flag);
    } else if (request.recipe.empty()) {
      request.recipe = flag;
    } else {
      refuse("unexpected \"" + flag + "\" after the recipe " + request.recipe + ": expected key=value");
    }
  }
  if (check && request.mode == Mode::kEvaluate)
    refuse("--check looks at training: leave --eval-only or --dump-outputs out");
  if (check) request.mode = Mode::kCheck;
  if (request.action == Request::Action::kDumpOutputs && request.resume.empty()) {
    refuse("--dump-outputs needs --resume RUN: it shows what that run's newest checkpoint computes");
  }
  if (request.mode == Mode::kEvaluate && request.resume.empty() && request.action != Request::Action::kList) {
    refuse("--eval-only needs --resume RUN: it evaluates that run's newest checkpoint");
  }
  return request;
}

std::string help_text() {
  return R"(rondo-train: one rank of a training run. People start it by `rondo train`.

  rondo-train RECIPE [key=value...]                train
  rondo-train --resume RUN|latest [key=value...]   go on from a run's newest valid checkpoint
  rondo-train --eval-only --resume RUN|latest      evaluate that checkpoint
  rondo-train --check RECIPE [key=value...]        two steps, to look for mistakes; exit code 3 when one is found
  rondo-train --plan ...                           check everything, print the resolved configuration as TOML
  rondo-train --list [--json]                      recipes and their keys
  rondo-train --dump-outputs FILE --resume RUN     write inputs and the net's outputs as safetensors
  rondo-train --libtorch                           what LibTorch says of how it was built

  --json   print the summary, or what --check found, as JSON instead of text

Examples:
  rondo-train fmnist-cnn epochs=1 limit=6000
  rondo-train --resume latest epochs=5
)";
}

}  // namespace rondo::trainer
