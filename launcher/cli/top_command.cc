#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "launcher/base/exit_codes.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/remote/run_call.h"
#include "launcher/terminal/live_runs.h"
#include "launcher/terminal/tables.h"

namespace rondo::launcher {
namespace {

constexpr int kMostPictures = 5;  // --once waits so long for what the ranks use

const char* const kUsage = "rondo top [RUN] [--once] [--json]";
const char* const kPurpose = "What each rank of a run does and uses, once a second.";
const char* const kFooter =
    "RUN is a run's id, the beginning of one, or its launcher's pid (`rondo ps`); not needed when one run goes on.\n\n"
    "CPU is of one processor, since the line before; MEMORY what is resident of the rank's own process; SAID when it\n"
    "last wrote a line. LOSS, SAMPLES/S and STEP are known of ranks that report progress. Ctrl-C ends this terminal\n"
    "alone.\n\n"
    "exit codes:\n"
    "  0     shown, and the run has ended unless --once\n"
    "  2     wrong usage, or no such run\n"
    "  3     the run's launcher was killed\n";

struct TopFlags {
  std::string run;
  bool once = false, json = false;
};

void add_flags(CLI::App& app, TopFlags& flags) {
  app.add_flag("--once", flags.once, "show it once, and end");
  app.add_flag("--json", flags.json, "a JSON object a line");
  app.add_option("run", flags.run);
  set_usage(app, kUsage);
}

int refuse(const comm::Status& status) {
  std::fprintf(stderr, "rondo top: %s\n", status.message().c_str());
  return exit_code_of(status);
}

bool complete(const control::RunDescription& run) {
  return std::ranges::all_of(run.ranks(), [](const control::RankState& rank) {
    return rank.has_ending() || (rank.has_usage() && rank.usage().has_cpu_percent());
  });
}

}  // namespace

void describe_top(const DescribeVerb& take) {
  CLI::App app(kPurpose, "rondo top");
  TopFlags flags;
  add_flags(app, flags);
  take(app);
}

int top_command(const std::vector<std::string>& arguments) {
  CLI::App app(kPurpose, "rondo top");
  app.allow_extras();
  app.footer(kFooter);
  TopFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  const auto door = find_live_run(flags.run);
  if (!door.ok()) return refuse(door.status());
  const auto call = RunCall::open(*door);
  if (!call.ok()) return refuse(call.status());
  if (const auto answers = (*call)->describe(comm::after(RunCall::kAnswerWithin)); !answers.ok())
    return refuse(answers.status());

  const bool redraw = !flags.json && !flags.once && ::isatty(STDOUT_FILENO) == 1;
  int pictures = 0;
  const comm::Status ended = (*call)->watch([&](const control::RunDescription& run) {
    if (flags.once && ++pictures < kMostPictures && !complete(run)) return RunCall::More::kYes;
    std::string text = flags.json ? top_json(run) : top_table(run, std::chrono::system_clock::now());
    if (redraw) text = "\x1b[H\x1b[2J" + text;  // from the upper left, on an empty screen
    if (!redraw && !flags.json && !flags.once) text += "\n";
    std::fputs(text.c_str(), stdout);
    const bool read = std::fflush(stdout) == 0;  // whoever reads us may have gone
    return read && !flags.once ? RunCall::More::kYes : RunCall::More::kNo;
  });
  return ended.ok() ? kExitOk : refuse(ended);
}

}  // namespace rondo::launcher
