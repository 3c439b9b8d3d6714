#include "launcher/report/failure_report.h"

#include <map>

#include "launcher/base/text.h"
#include "launcher/explain/findings.h"
#include "launcher/report/cause.h"
#include "launcher/report/deeds.h"

namespace rondo::launcher {
namespace {

constexpr size_t kMostDeeds = 8, kMostRanksOneByOne = 8;

std::string how_it_ended(const RankStory& story) {
  if (!story.evidence.ending) return "did not end";
  const std::string ending = story.evidence.ending->describe();
  return story.evidence.stopped_by_launcher && !story.evidence.ending->good() ? "stopped" : ending;
}

/// "rank 0 (stopped), rank 2 (exited with code 1)"; many that ended alike together: "ranks 0-61 and 63 (stopped)".
std::string victims_text(const FailedRun& run) {
  const std::vector<int> victims = victims_of(run);
  std::string text;
  const auto add = [&text](const std::string& who, const std::string& how) {
    text += (text.empty() ? "" : ", ") + who + " (" + how + ")";
  };
  if (victims.size() <= kMostRanksOneByOne) {
    for (const int rank : victims)
      add("rank " + std::to_string(rank), how_it_ended(run.ranks[static_cast<size_t>(rank)]));
    return text;
  }
  std::map<std::string, std::vector<int>> by_ending;
  for (const int rank : victims) by_ending[how_it_ended(run.ranks[static_cast<size_t>(rank)])].push_back(rank);
  for (const auto& [how, who] : by_ending) add(ranks_text(who), how);
  return text;
}

void add_deeds(const FailedRun& run, std::vector<std::string>& lines) {
  const std::vector<std::string> deeds = deed_lines(run.ranks);
  if (deeds.empty()) return;
  lines.emplace_back("  what the ranks were doing:");
  for (size_t i = 0; i < deeds.size() && i < kMostDeeds; ++i) lines.push_back("    " + deeds[i]);
  if (deeds.size() > kMostDeeds)
    lines.push_back("    and " + std::to_string(deeds.size() - kMostDeeds) + " more lines: rondo explain " +
                    shell_quoted(run.folder));
}

}  // namespace

std::vector<int> victims_of(const FailedRun& run) {
  std::vector<int> victims;
  for (const RankStory& story : run.ranks) {
    const bool well = story.evidence.ending && story.evidence.ending->good();
    if (story.rank != run.culprit && !well) victims.push_back(story.rank);
  }
  return victims;
}

std::vector<std::string> failure_report(const FailedRun& run) {
  const RankStory& first = run.first();
  std::vector<std::string> lines;
  lines.push_back("rank " + std::to_string(first.rank) + " (host " + first.host + ", pid " + std::to_string(first.pid) +
                  ") " + how_it_failed(first));
  if (first.evidence.report) {
    lines.push_back("  it reported: " + printable(first.evidence.report->code + ": " + first.evidence.report->text));
  }
  const std::string cause = cause_of(first);
  const bool reported = first.evidence.report && cause.ends_with(printable(first.evidence.report->text));
  if (!cause.empty() && !reported) lines.push_back("  cause: " + cause);
  const bool lost = first.evidence.ending && first.evidence.ending->lost;
  if (first.last_lines.empty()) {
    lines.emplace_back(lost ? "  what it wrote is in the logs on its host" : "  it wrote nothing to stderr");
  } else {
    lines.push_back("  its last lines on " + std::string(first.stream_name()) +
                    (first.log_path.empty() ? " that came here (all of them: in the logs on its host"
                                            : " (all of them: " + first.log_path) +
                    (first.stream == Channel::kOutput ? "; it wrote nothing to stderr):" : "):"));
    for (const std::string& line : first.last_lines) lines.push_back("    " + line);
  }
  if (!first.evidence.backtrace.empty()) lines.emplace_back("  where it was:");
  for (const std::string& frame : first.evidence.backtrace) lines.push_back("    " + printable(frame));
  add_deeds(run, lines);
  if (const std::string others = victims_text(run); !others.empty())
    lines.push_back("  ended because of it: " + others);
  if (const auto hint = hint_for(first)) lines.push_back("  hint: " + *hint);
  if (!run.command.empty()) lines.push_back("  again: " + shell_quoted(run.command));
  return lines;
}

}  // namespace rondo::launcher
