#include "launcher/explain/view.h"

#include <algorithm>

#include "launcher/base/text.h"

namespace rondo::launcher {

using comm::FlightGroup;
using comm::FlightRecord;
using comm::FlightState;

View::View(const RunRecord& run)
    : run_(run), past_(run.state != RunState::kRunning && run.state != RunState::kUnknown) {
  for (const RankRecord& rank : run_.ranks) {
    if (!rank.flight) continue;
    add_rank(rank);
    if (rank.flight->ending && rank.flight->ending->code == comm::Code::kPeerLost)
      blamed_.insert(rank.flight->ending->culprit);
  }
}

void View::add_rank(const RankRecord& rank) {
  std::map<uint64_t, Member> here;
  for (const FlightGroup& group : rank.flight->groups) here[group.id] = Member{.rank = &rank, .group = group};
  for (const FlightRecord& record : rank.flight->records) {
    const Member unknown{.rank = &rank,
                         .group = {.id = record.group, .name = "number " + std::to_string(record.group)},
                         .in_table = false};
    Member& member = here.try_emplace(record.group, unknown).first->second;
    const bool finished = record.state == FlightState::kFinished;
    if (!member.in_table) {
      member.group.called = std::max(member.group.called, record.sequence + 1);
      if (finished) member.group.finished = std::max(member.group.finished, record.sequence + 1);
    }
    const FlightRecord*& kept = finished ? member.last_finished : member.current;
    const bool better =
        kept == nullptr || (finished ? record.sequence > kept->sequence : record.sequence < kept->sequence);
    if (better) kept = &record;
  }
  for (auto& [id, member] : here) groups_[id].push_back(member);
}

bool View::died(const RankRecord& rank) const {
  if (rank.exit && rank.exit->signal != 0) return rank.rank == run_.culprit || !rank.exit->stopped_by_launcher;
  // One that exited after an error of its own says itself why.
  if (rank.exit) return rank.rank == run_.culprit && !(rank.flight && rank.flight->ending);
  return run_.state == RunState::kUnknown && rank.process == '\0' && blamed_.contains(rank.rank);
}

std::string person(const RankRecord& rank) {
  std::string text = "rank " + std::to_string(rank.rank);
  if (rank.pid > 0) text += " (pid " + std::to_string(rank.pid) + ")";
  return text;
}

std::string quoted(const std::string& name) { return "\"" + printable(name) + "\""; }

std::string call_text(const Member& member, const FlightRecord& record) {
  return "sequence " + std::to_string(record.sequence) + " of group " + quoted(member.group.name) + " (" +
         printable(record.describe()) + ")";
}

std::vector<int> ranks_of(const Members& members) {
  std::vector<int> ranks;
  for (const Member& member : members) ranks.push_back(member.rank->rank);
  return ranks;
}

}  // namespace rondo::launcher
