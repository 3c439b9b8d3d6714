#include "launcher/report/failure_file.h"

#include <nlohmann/json.hpp>

#include "launcher/base/text.h"
#include "launcher/report/cause.h"
#include "launcher/report/failure_report.h"

namespace rondo::launcher {
namespace {

using nlohmann::ordered_json;

void put_ending(const RankEvidence& evidence, ordered_json& into) {
  const bool by_itself = evidence.ending && !evidence.hung && !evidence.ending->lost;
  const bool by_signal = by_itself && evidence.ending->signal != 0;
  into["exit_code"] = by_itself && !by_signal ? ordered_json(evidence.ending->exit_code) : ordered_json();
  into["signal"] = by_signal ? ordered_json(evidence.ending->signal) : ordered_json();
}

ordered_json rank_json(const RankStory& story) {
  ordered_json entry{{"rank", story.rank}, {"host", story.host}, {"pid", story.pid}};
  put_ending(story.evidence, entry);
  entry["stopped"] = story.evidence.stopped_by_launcher;
  entry["doing"] = story.doing.empty() ? ordered_json() : ordered_json(story.doing);
  return entry;
}

}  // namespace

std::string failure_json(const FailedRun& run) {
  const RankStory& first = run.first();
  ordered_json result{{"rank", first.rank}, {"host", first.host}, {"pid", first.pid}, {"generation", run.generation}};
  put_ending(first.evidence, result);
  const std::string cause = cause_of(first);
  result["cause"] = how_it_failed(first) + (cause.empty() ? "" : ": " + cause);
  result["evidence"] = evidence_of(run);
  result["last_lines"] = first.last_lines;
  result["last_lines_of"] = first.stream_name();
  result["backtrace"] = first.evidence.backtrace;
  result["ranks"] = ordered_json::array();
  for (const RankStory& story : run.ranks) result["ranks"].push_back(rank_json(story));
  result["victims"] = victims_of(run);
  const auto hint = hint_for(first);
  result["hint"] = hint ? ordered_json(*hint) : ordered_json();
  result["rerun"] = shell_quoted(run.command);
  return result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace rondo::launcher
