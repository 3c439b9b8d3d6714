#include "launcher/explain/words.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using nlohmann::ordered_json;

const char* name(RunState state) {
  switch (state) {
    case RunState::kRunning:
      return "running";
    case RunState::kEndedWell:
      return "ended well";
    case RunState::kFailed:
      return "failed";
    case RunState::kStopped:
      return "stopped";
    case RunState::kCut:
      return "cut off";
    case RunState::kUnknown:
      return "unknown";
  }
  return "unknown";
}

bool recorded(const RunRecord& run) {
  return std::any_of(run.ranks.begin(), run.ranks.end(),
                     [](const RankRecord& rank) { return rank.flight || !rank.problem.empty(); });
}

std::string headline(const RunRecord& run) {
  const std::string what = run.folder + ": " + counted(run.ranks.size(), "rank") + ", ";
  switch (run.state) {
    case RunState::kRunning:
      return what + "running";
    case RunState::kEndedWell:
      return what + "ended well" + (recorded(run) ? "; what follows is from the last look at it while it ran" : "");
    case RunState::kFailed:
      return what + "failed" +
             (run.culprit >= 0 ? ": rank " + std::to_string(run.culprit) + " " + run.cause : std::string());
    case RunState::kStopped:
      return what + "stopped by a signal to the launcher";
    case RunState::kCut:
      return what + "cut off: its launcher was killed";
    case RunState::kUnknown:
      return what + "not started by rondo";
  }
  return what;
}

std::string standing_text(const RunRecord& run, const Standing& standing) {
  std::string text = "group \"" + printable(standing.group) + "\": ";
  if (standing.current) {
    const comm::FlightRecord& call = *standing.current;
    const uint64_t end = call.ended_ns != 0 ? call.ended_ns : run.now_ns;
    text += "in sequence " + std::to_string(call.sequence) + ", " + printable(call.describe()) + ", " +
            std::string(comm::name(call.state)) +
            (call.state == comm::FlightState::kFailed ? " (" + std::string(comm::name(call.code)) + ")" : "") + ", " +
            duration_text(end > call.called_ns ? end - call.called_ns : 0);
    if (call.hop_count > 0) text += ", hop " + std::to_string(call.hop) + " of " + std::to_string(call.hop_count);
    if (call.peer >= 0) text += ", waits for rank " + std::to_string(call.peer);
  } else {
    text += standing.open ? "in no call" : "closed";
  }
  if (standing.last_finished) {
    text += "; last finished: sequence " + std::to_string(standing.last_finished->sequence) + ", " +
            printable(standing.last_finished->describe());
  } else {
    text += "; nothing finished";
  }
  return text;
}

void add_rank_lines(const RunRecord& run, const Explanation& explanation, const RankRecord& rank,
                    std::vector<std::string>& lines) {
  std::string head = "rank " + std::to_string(rank.rank);
  if (rank.pid > 0) head += " (pid " + std::to_string(rank.pid) + ")";
  if (!rank.problem.empty()) head += ": its flight record cannot be read: " + rank.problem;
  if (!rank.flight && rank.missing)
    head += ": its flight record did not come from its host in time, or the host is lost";
  if (rank.flight && rank.missing) head += ", by an earlier look: its host sent no newer record in time, or is lost";
  if (!rank.flight && !rank.missing && rank.problem.empty())
    head += ": no flight record: it never joined, its program does not use Rondo, or it ran on another host";
  lines.push_back(head);
  size_t shown = 0;
  for (const Standing& standing : explanation.standings) {
    if (standing.rank != rank.rank || (!standing.open && !standing.current)) continue;
    lines.push_back("  " + standing_text(run, standing));
    ++shown;
  }
  if (rank.flight && shown == 0) lines.emplace_back("  in no group");
}

ordered_json record_json(const comm::FlightRecord& record) {
  return {{"sequence", record.sequence},
          {"kind", std::string(comm::name(record.kind))},
          {"dtype", std::string(comm::name(record.dtype))},
          {"op", std::string(comm::name(record.op))},
          {"root", record.root},
          {"elements", record.element_count},
          {"algorithm", record.algorithm},
          {"tag", record.tag},
          {"state", std::string(comm::name(record.state))},
          {"code", std::string(comm::name(record.code))},
          {"called_ns", record.called_ns},
          {"started_ns", record.started_ns},
          {"ended_ns", record.ended_ns},
          {"hop", record.hop},
          {"hops", record.hop_count},
          {"waits_for", record.peer}};
}

ordered_json rank_json(const Explanation& explanation, const RankRecord& rank) {
  ordered_json entry{{"rank", rank.rank}, {"pid", rank.pid}};
  entry["exit"] = nullptr;
  if (rank.exit)
    entry["exit"] = {{"code", rank.exit->exit_code},
                     {"signal", rank.exit->signal},
                     {"stopped_by_launcher", rank.exit->stopped_by_launcher}};
  entry["recorded"] = rank.flight.has_value();
  if (!rank.problem.empty()) entry["problem"] = rank.problem;
  entry["error"] = nullptr;
  if (rank.flight) {
    entry["host"] = rank.flight->host;
    entry["beat_ns"] = rank.flight->beat_ns;
    entry["torn"] = rank.flight->torn;
    if (const auto& ending = rank.flight->ending)
      entry["error"] = {{"code", std::string(comm::name(ending->code))},
                        {"culprit", ending->culprit},
                        {"at_ns", ending->at_ns},
                        {"text", ending->text}};
  }
  entry["groups"] = ordered_json::array();
  for (const Standing& standing : explanation.standings) {
    if (standing.rank != rank.rank) continue;
    ordered_json group{{"name", standing.group}, {"rank", standing.at.rank},  {"world_size", standing.at.world_size},
                       {"open", standing.open},  {"called", standing.called}, {"finished", standing.finished}};
    group["current"] = standing.current ? record_json(*standing.current) : ordered_json();
    group["last_finished"] = standing.last_finished ? record_json(*standing.last_finished) : ordered_json();
    entry["groups"].push_back(std::move(group));
  }
  return entry;
}

}  // namespace

std::vector<std::string> explanation_lines(const RunRecord& run, const Explanation& explanation) {
  std::vector<std::string> lines{headline(run)};
  for (const Finding& finding : explanation.findings) lines.push_back("  " + finding.text);
  if (!recorded(run)) {
    lines.emplace_back(
        "  no flight records: they are written when a run fails or is stopped, and for this command while it runs, by "
        "ranks that use Rondo");
    return lines;
  }
  lines.emplace_back();
  for (const RankRecord& rank : run.ranks) add_rank_lines(run, explanation, rank, lines);
  return lines;
}

std::string explanation_json(const RunRecord& run, const Explanation& explanation) {
  ordered_json result{
      {"run", run.folder}, {"state", name(run.state)}, {"exit_code", run.exit_code}, {"now_ns", run.now_ns}};
  result["findings"] = ordered_json::array();
  for (const Finding& finding : explanation.findings) {
    ordered_json entry{
        {"kind", name(finding.kind)}, {"group", finding.group}, {"ranks", finding.ranks}, {"waiting", finding.waiting}};
    entry["sequence"] = finding.sequence ? ordered_json(*finding.sequence) : ordered_json();
    entry["text"] = finding.text;
    result["findings"].push_back(std::move(entry));
  }
  result["ranks"] = ordered_json::array();
  for (const RankRecord& rank : run.ranks) result["ranks"].push_back(rank_json(explanation, rank));
  return result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace rondo::launcher
