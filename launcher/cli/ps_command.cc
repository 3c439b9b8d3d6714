#include <CLI/CLI.hpp>
#include <cstdio>

#include "launcher/base/exit_codes.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/explain/live_run.h"
#include "launcher/remote/run_call.h"
#include "launcher/terminal/live_runs.h"
#include "launcher/terminal/tables.h"

namespace rondo::launcher {
namespace {

constexpr std::chrono::seconds kAnswerWithin{2};

const char* const kPurpose = "The runs of yours that go on on this host.";
const char* const kFooter =
    "A run over several hosts is seen on the host of its coordinator. Runs in other network namespaces (containers)\n"
    "are not seen.\n\n"
    "states:\n"
    "  gathering   its hosts have not all come yet\n"
    "  running     its ranks run\n"
    "  stopping    a signal has stopped it; its ranks end\n"
    "  suspended   it was stopped by Ctrl-Z\n"
    "  silent      its launcher does not answer\n";

void add_flags(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "one JSON object");
  set_usage(app, "rondo ps [--json]");
}

SeenRun see(const RunDoor& door) {
  SeenRun seen{.door = door, .state = SeenRun::State::kSilent, .said = {}};
  if (process_state(door.launcher) == 'T') {
    seen.state = SeenRun::State::kSuspended;
    return seen;
  }
  const auto call = RunCall::open(door);
  if (!call.ok()) return seen;
  auto said = (*call)->describe(comm::after(kAnswerWithin));
  if (!said.ok()) return seen;
  seen.state = SeenRun::State::kAnswers;
  seen.said = *std::move(said);
  return seen;
}

}  // namespace

void describe_ps(const DescribeVerb& take) {
  CLI::App app(kPurpose, "rondo ps");
  bool json = false;
  add_flags(app, json);
  take(app);
}

int ps_command(const std::vector<std::string>& arguments) {
  CLI::App app(kPurpose, "rondo ps");
  app.allow_extras();
  app.footer(kFooter);
  bool json = false;
  add_flags(app, json);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  std::vector<SeenRun> runs;
  for (const RunDoor& door : live_runs()) {
    SeenRun run = see(door);
    const bool ended = run.state == SeenRun::State::kSilent && process_state(door.launcher) == '\0';
    if (!ended) runs.push_back(std::move(run));
  }
  std::fputs((json ? ps_json(runs) : ps_table(runs, std::chrono::system_clock::now())).c_str(), stdout);
  return kExitOk;
}

}  // namespace rondo::launcher
