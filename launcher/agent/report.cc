#include "launcher/agent/report.h"

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

std::string how_it_ended(const RankStory& story) {
  if (!story.evidence.ending) return "did not end";
  const std::string ending = story.evidence.ending->describe();
  return story.evidence.stopped_by_launcher && !story.evidence.ending->good() ? "stopped" : ending;
}

}  // namespace

std::vector<std::string> failure_report(const std::vector<RankStory>& ranks, int culprit) {
  const RankStory& first = ranks[static_cast<size_t>(culprit)];
  std::vector<std::string> lines;
  lines.push_back("rank " + std::to_string(first.rank) + " (host " + first.host + ", pid " + std::to_string(first.pid) +
                  ") " + first.evidence.ending->describe());
  if (first.evidence.report) {
    lines.push_back("  it reported: " + printable(first.evidence.report->code + ": " + first.evidence.report->text));
  }
  if (first.last_lines.empty()) {
    lines.push_back("  it wrote nothing to stderr");
  } else {
    lines.push_back("  its last lines on stderr (all of them: " + first.log_path + "):");
    for (const std::string& line : first.last_lines) lines.push_back("    " + line);
  }
  std::string others;
  for (const RankStory& story : ranks) {
    if (story.rank == culprit || (story.evidence.ending && story.evidence.ending->good())) continue;
    others += (others.empty() ? "" : ", ") + std::string("rank ") + std::to_string(story.rank) + " (" +
              how_it_ended(story) + ")";
  }
  if (!others.empty()) lines.push_back("  ended because of it: " + others);
  return lines;
}

}  // namespace rondo::launcher
