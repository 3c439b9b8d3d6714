#include <CLI/CLI.hpp>
#include <cstdio>

#include "launcher/base/exit_codes.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/explain/findings.h"
#include "launcher/explain/live_run.h"
#include "launcher/explain/words.h"

namespace rondo::launcher {
namespace {

constexpr std::chrono::seconds kAnswerWithin{12};  // the coordinator waits for those of other hosts, too

const char* const kFooter =
    "RUN is a run's folder, its name in runs/, or latest. A run that still goes on is looked at as it is.\n\n"
    "examples:\n"
    "  rondo explain latest                    what the last run does, or why it failed\n"
    "  rondo explain runs/mine-20250131-120000-4711\n"
    "  rondo explain latest --json             for programs\n\n"
    "exit codes:\n"
    "  0     explained\n"
    "  2     wrong usage, or there is no such run\n"
    "  3     the run's launcher does not answer, or may not be asked\n"
    "  6     every flight record of the run is corrupt\n";

int refuse(const comm::Status& status) {
  std::fprintf(stderr, "rondo explain: %s\n", status.message().c_str());
  return exit_code_of(status);
}

bool all_corrupt(const RunRecord& run) {
  bool any = false;
  for (const RankRecord& rank : run.ranks) {
    if (rank.flight) return false;
    any = any || !rank.problem.empty();
  }
  return any;
}

struct ExplainFlags {
  std::string word;
  bool json = false;
};

void add_flags(CLI::App& app, ExplainFlags& flags) {
  app.add_flag("--json", flags.json, "one JSON object");
  app.add_option("run", flags.word);
}

}  // namespace

void describe_explain(const DescribeVerb& take) {
  CLI::App app("Who is where, who waits for whom, who is behind, who died: from the ranks' flight records.",
               "rondo explain");
  ExplainFlags flags;
  add_flags(app, flags);
  set_usage(app, "rondo explain RUN|latest [--json]");
  take(app);
}

int explain_command(const std::vector<std::string>& arguments) {
  CLI::App app("Who is where, who waits for whom, who is behind, who died: from the ranks' flight records.",
               "rondo explain");
  app.allow_extras();
  set_usage(app, "rondo explain RUN|latest [--json]");
  app.footer(kFooter);
  ExplainFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  if (flags.word.empty()) return usage_error(app, "which run? Its folder, its name in runs/, or latest");

  const auto folder = find_run(flags.word);
  if (!folder.ok()) return refuse(folder.status());
  if (const auto launcher = launcher_of(*folder)) {
    const comm::Status asked = ask_for_flights(*folder, *launcher, comm::after(kAnswerWithin));
    // A run that ends at this very moment has written what there is.
    if (!asked.ok() && asked.code() != comm::Code::kPeerLost) return refuse(asked);
  }
  const auto run = read_run(*folder);
  if (!run.ok()) return refuse(run.status());
  const Explanation explanation = explain(*run);
  if (flags.json) {
    std::fputs(explanation_json(*run, explanation).c_str(), stdout);
  } else {
    for (const std::string& line : explanation_lines(*run, explanation)) std::printf("%s\n", line.c_str());
  }
  return all_corrupt(*run) ? kExitCorrupt : kExitOk;
}

}  // namespace rondo::launcher
