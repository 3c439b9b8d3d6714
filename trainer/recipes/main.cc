/// rondo-train: one rank of `rondo train`, and the place where recipes are listed and checked.
#include <ATen/Version.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/error.h"
#include "trainer/observe/error_file.h"
#include "trainer/observe/reporter.h"
#include "trainer/recipes/checkpoint_tool.h"
#include "trainer/recipes/image_training.h"
#include "trainer/recipes/registry.h"
#include "trainer/recipes/request.h"
#include "trainer/recipes/run_plan.h"
#include "trainer/recipes/verify_tool.h"

namespace {

using namespace rondo;
using namespace rondo::trainer;

/// What this program reads from its environment; comm's bootstrap reads the rest.
struct WorkerEnvironment {
  std::string run_folder;        // RONDO_RUN_DIR
  std::string error_file;        // TORCHELASTIC_ERROR_FILE
  int messages_descriptor = -1;  // RONDO_MESSAGES_FD
  int rank = 0;                  // whoever placed it, until the job says so itself
  int threads = 1;               // OMP_NUM_THREADS
  int restarts = 0;              // RONDO_GENERATION

  static WorkerEnvironment read() {
    const auto text = [](const char* name) {
      return std::string(std::getenv(name) != nullptr ? std::getenv(name) : "");
    };
    const auto number = [&](const char* name, int fallback) {
      char* end = nullptr;
      const std::string value = text(name);
      const long parsed = std::strtol(value.c_str(), &end, 10);
      return value.empty() || *end != '\0' || parsed < 0 || parsed > 1'000'000 ? fallback : static_cast<int>(parsed);
    };
    const auto placed = comm::read_bootstrap({}, comm::process_environment());
    return {.run_folder = text("RONDO_RUN_DIR"),
            .error_file = text("TORCHELASTIC_ERROR_FILE"),
            .messages_descriptor = number("RONDO_MESSAGES_FD", -1),
            .rank = placed.ok() ? placed->at.rank : 0,
            .threads = std::max(number("OMP_NUM_THREADS", 1), 1),
            .restarts = number("RONDO_GENERATION", 0)};
  }
};

int report(Reporter& reporter, const WorkerEnvironment& environment, const Error& error) {
  const WorkerFailure failure{.code = error.code(),
                              .text = error.what(),
                              .culprit_rank = error.culprit_rank() >= 0 ? error.culprit_rank() : environment.rank,
                              .exit_code = static_cast<int>(error.exit_code())};
  reporter.failure(failure);
  write_error_file(environment.error_file, failure, environment.rank);
  return failure.exit_code;
}

/// Asked by a verb of the launcher; no rank of anything.
int answer(const std::string& verb, int (*tool)(const std::vector<std::string>&),
           const std::vector<std::string>& question) {
  try {
    return tool(question);
  } catch (const Error& error) {
    std::fprintf(stderr, "rondo %s: %s\n", verb.c_str(), error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rondo %s: %s\n", verb.c_str(), error.what());
    return static_cast<int>(ExitCode::kFailure);
  }
}

void run(const Request& request, const WorkerEnvironment& environment, int argc, char** argv, Reporter& reporter) {
  if (request.action == Request::Action::kHelp) {
    std::fputs(help_text().c_str(), stdout);
    return;
  }
  if (request.action == Request::Action::kLibTorch) {
    std::fputs(at::show_config().c_str(), stdout);
    return;
  }
  const RecipeRegistry registry = all_recipes();
  if (request.action == Request::Action::kList) {
    std::fputs((request.output == Request::Output::kJson ? registry.list_json() : registry.list_text()).c_str(),
               stdout);
    return;
  }
  const RunPlan plan = make_plan(registry, request);
  if (request.action == Request::Action::kPlan) {
    if (plan.resume) {
      for (const std::string& why : plan.resume->skipped) std::fprintf(stderr, "skipped: %s\n", why.c_str());
    }
    std::fputs(plan.toml().c_str(), stdout);
  } else if (request.action == Request::Action::kDumpOutputs) {
    dump_outputs(plan, request.dump_file);
  } else {
    run_image_recipe(plan,
                     {.argc = argc,
                      .argv = argv,
                      .run_folder = environment.run_folder,
                      .default_threads = environment.threads,
                      .restarts = environment.restarts},
                     reporter);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "ckpt") return answer("ckpt", run_checkpoint_tool, {argv + 2, argv + argc});
  if (verb == "verify") return answer("train --verify", run_verify_tool, {argv + 2, argv + argc});
  const WorkerEnvironment environment = WorkerEnvironment::read();
  Reporter reporter({.messages_descriptor = environment.messages_descriptor, .rank = environment.rank});
  int exit_code = 0;
  try {
    run(parse_request({argv + 1, argv + argc}), environment, argc, argv, reporter);
  } catch (const Error& error) {
    exit_code = report(reporter, environment, error);
  } catch (const std::exception& error) {
    exit_code = report(reporter, environment, Error(error.what()));
  }
  reporter.goodbye(exit_code);
  return exit_code;
}
