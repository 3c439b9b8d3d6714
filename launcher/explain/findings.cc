#include "launcher/explain/findings.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using comm::Flight;
using comm::FlightGroup;
using comm::FlightRecord;
using comm::FlightState;

/// One rank in one group.
struct Member {
  const RankRecord* rank;
  FlightGroup group;
  const FlightRecord* current = nullptr;        // the oldest that is not finished
  const FlightRecord* last_finished = nullptr;  // the youngest that is
  /// What it finishes or calls next.
  uint64_t front() const { return current != nullptr ? current->sequence : group.finished; }
  /// Orders members by how far they are: in a call is further than before it.
  uint64_t place() const { return 2 * front() + (current != nullptr ? 1 : 0); }
  bool left() const { return !group.open && group.code == comm::Code::kClosed; }
};

using Members = std::vector<Member>;

std::string quoted(const std::string& name) { return "\"" + printable(name) + "\""; }

class Explainer {
 public:
  explicit Explainer(const RunRecord& run)
      : run_(run), past_(run.state != RunState::kRunning && run.state != RunState::kUnknown) {
    for (const RankRecord& rank : run_.ranks)
      if (rank.flight) add_rank(rank);
  }

  Explanation explain() {
    deaths();
    silences();
    for (const auto& [id, members] : groups_) {
      if (!mismatch(members)) order(members);
    }
    formations();
    errors();
    if (findings_.empty()) idle();
    std::stable_sort(findings_.begin(), findings_.end(),
                     [](const Finding& a, const Finding& b) { return a.kind < b.kind; });
    return {.findings = std::move(findings_), .standings = standings()};
  }

 private:
  void add_rank(const RankRecord& rank) {
    std::map<uint64_t, Member> here;
    for (const FlightGroup& group : rank.flight->groups) here[group.id] = Member{.rank = &rank, .group = group};
    for (const FlightRecord& record : rank.flight->records) {
      auto [at, fresh] = here.try_emplace(record.group, Member{.rank = &rank, .group = {.id = record.group}});
      Member& member = at->second;
      if (fresh || member.group.name.empty()) {  // its place in the table went to another group
        member.group.name = "number " + std::to_string(record.group);
        member.group.called = record.sequence + 1;
        member.group.finished = record.sequence;
      }
      const bool finished = record.state == FlightState::kFinished;
      const FlightRecord*& kept = finished ? member.last_finished : member.current;
      const bool better =
          kept == nullptr || (finished ? record.sequence > kept->sequence : record.sequence < kept->sequence);
      if (better) kept = &record;
    }
    for (auto& [id, member] : here) groups_[id].push_back(member);
  }

  void find(Finding finding) { findings_.push_back(std::move(finding)); }
  std::string verb(const char* present, const char* past) const { return past_ ? past : present; }

  static std::string person(const RankRecord& rank) {
    std::string text = "rank " + std::to_string(rank.rank);
    if (rank.pid > 0) text += " (pid " + std::to_string(rank.pid) + ")";
    return text;
  }

  /// When the group's clock stopped: at its first failure, else the moment that the records describe.
  uint64_t moment(const Members& members) const {
    uint64_t first = 0;
    for (const Member& member : members) {
      const FlightRecord* record = member.current;
      if (record == nullptr || record->state != FlightState::kFailed) continue;
      if (first == 0 || record->ended_ns < first) first = record->ended_ns;
    }
    return first != 0 ? first : run_.now_ns;
  }

  static uint64_t since(uint64_t begin, uint64_t now) { return now > begin ? now - begin : 0; }

  /// "sequence 811 of group "world" (all_reduce of 4 float32, sum, tag "bucket 4")".
  static std::string call_text(const Member& member, const FlightRecord& record) {
    return "sequence " + std::to_string(record.sequence) + " of group " + quoted(member.group.name) + " (" +
           printable(record.describe()) + ")";
  }

  /// ", hop 2 of 6, waits for rank 1".
  std::string position_text(const FlightRecord& record) const {
    if (record.hop_count == 0) return "";
    std::string text = ", hop " + std::to_string(record.hop) + " of " + std::to_string(record.hop_count);
    if (record.peer >= 0) text += ", " + verb("waits", "waiting") + " for rank " + std::to_string(record.peer);
    return text;
  }

  // --- ranks

  bool died(const RankRecord& rank) const {
    if (rank.exit && rank.exit->signal != 0) return rank.rank == run_.culprit || !rank.exit->stopped_by_launcher;
    // One that exited after an error of its own says itself why.
    if (rank.exit) return rank.rank == run_.culprit && !(rank.flight && rank.flight->ending);
    return run_.state == RunState::kUnknown && rank.process == '\0' && blamed_.contains(rank.rank);
  }

  void deaths() {
    for (const RankRecord& rank : run_.ranks)
      if (rank.flight && rank.flight->ending && rank.flight->ending->code == comm::Code::kPeerLost)
        blamed_.insert(rank.flight->ending->culprit);
    for (const RankRecord& rank : run_.ranks) {
      if (!died(rank)) continue;
      std::string how = "died";
      if (rank.exit && rank.exit->signal != 0) {
        how = "died: killed by signal " + signal_text(rank.exit->signal);
      } else if (rank.exit) {
        how = "ended first: exited with code " + std::to_string(rank.exit->exit_code);
      }
      find({.kind = FindingKind::kDied, .ranks = {rank.rank}, .text = person(rank) + " " + how + last_deeds(rank)});
    }
  }

  /// Where a rank was that is no more.
  std::string last_deeds(const RankRecord& rank) const {
    if (!rank.flight) return "; it left no flight record";
    std::string text;
    const Member* youngest = nullptr;
    for (const auto& [id, members] : groups_) {
      for (const Member& member : members) {
        if (member.rank != &rank) continue;
        if (member.current != nullptr) {
          text += "; it was in " + call_text(member, *member.current);
          if (member.current->hop_count > 0)
            text += ", hop " + std::to_string(member.current->hop) + " of " + std::to_string(member.current->hop_count);
          if (member.current->peer >= 0) text += ", waiting for rank " + std::to_string(member.current->peer);
        }
        if (member.last_finished != nullptr &&
            (youngest == nullptr || member.last_finished->ended_ns > youngest->last_finished->ended_ns))
          youngest = &member;
      }
    }
    if (text.empty()) text = "; it was in no collective";
    if (youngest != nullptr) text += "; the last that it finished: " + call_text(*youngest, *youngest->last_finished);
    return text;
  }

  void silences() {
    uint64_t alarm = 0;  // when the first of the others gave up
    for (const RankRecord& rank : run_.ranks) {
      if (!rank.flight || rank.flight->alarmed_ns == 0) continue;
      alarm = alarm == 0 ? rank.flight->alarmed_ns : std::min(alarm, rank.flight->alarmed_ns);
    }
    const uint64_t now = alarm != 0 ? alarm : run_.now_ns;
    const auto silence = [&](const RankRecord& rank) {
      return rank.flight && rank.flight->beat_ns != 0 ? since(rank.flight->beat_ns, now) : 0;
    };
    const bool one_beats = std::any_of(run_.ranks.begin(), run_.ranks.end(), [&](const RankRecord& rank) {
      return rank.flight && rank.flight->beat_ns != 0 && silence(rank) < kSilentNs;
    });
    for (const RankRecord& rank : run_.ranks) {
      const bool ended = rank.exit && !rank.exit->stopped_by_launcher;
      if (ended || died(rank)) continue;
      const bool halted = rank.process == 'T' || rank.process == 't';
      if (!halted && (!one_beats || silence(rank) < kSilentNs)) continue;
      std::string text = person(rank);
      if (halted) {
        text += " is stopped (process state " + std::string(1, rank.process) + ": SIGSTOP or a debugger)";
        if (silence(rank) >= kSilentNs) text += "; it has not beaten for " + duration_text(silence(rank));
      } else {
        text += " " + verb("has", "had") + " not beaten for " + duration_text(silence(rank)) +
                ": stopped (SIGSTOP, a debugger), starved of its cpu" +
                (run_.state == RunState::kUnknown ? ", or gone" : "");
      }
      find({.kind = FindingKind::kStopped, .ranks = {rank.rank}, .text = text});
    }
  }

  // --- groups

  bool mismatch(const Members& members) {
    std::optional<uint64_t> sequence;
    for (const Member& member : members)
      if (member.current != nullptr) sequence = std::min(sequence.value_or(UINT64_MAX), member.current->sequence);
    if (!sequence) return false;
    std::map<std::string, std::vector<int>> calls;  // what -> who
    for (const Member& member : members) {
      if (member.current != nullptr && member.current->sequence == *sequence)
        calls[member.current->describe()].push_back(member.rank->rank);
    }
    if (calls.size() < 2) return false;
    std::string text = "ranks " + verb("disagree", "disagreed") + " in sequence " + std::to_string(*sequence) +
                       " of group " + quoted(members.front().group.name) + ":";
    std::vector<int> all;
    const char* before = " ";
    for (const auto& [what, who] : calls) {
      text += before + ranks_text(who) + " " + (who.size() == 1 ? verb("calls", "called") : verb("call", "called")) +
              " " + printable(what);
      before = "; ";
      all.insert(all.end(), who.begin(), who.end());
    }
    find({.kind = FindingKind::kMismatch,
          .group = members.front().group.name,
          .ranks = std::move(all),
          .sequence = sequence,
          .text = text});
    return true;
  }

  /// Who is behind, or that everybody is in the same call.
  void order(const Members& members) {
    Members here;
    std::copy_if(members.begin(), members.end(), std::back_inserter(here), [](const Member& m) { return !m.left(); });
    const bool busy = std::any_of(here.begin(), here.end(), [](const Member& m) { return m.current != nullptr; });
    if (!busy) return;
    departures(members);
    const auto least = std::min_element(here.begin(), here.end(),
                                        [](const Member& a, const Member& b) { return a.place() < b.place(); });
    Members late, waiting;
    for (const Member& member : here) {
      if (member.place() == least->place()) {
        late.push_back(member);
      } else if (member.current != nullptr) {
        waiting.push_back(member);
      }
    }
    if (!waiting.empty()) {
      behind(late, waiting, moment(members));
    } else if (late.front().current != nullptr) {
      together(late, moment(members));
    }
  }

  static std::vector<int> ranks_of(const Members& members) {
    std::vector<int> ranks;
    for (const Member& member : members) ranks.push_back(member.rank->rank);
    return ranks;
  }

  void departures(const Members& members) {
    Members left, waiting;
    for (const Member& member : members) {
      if (member.left()) left.push_back(member);
      if (!member.left() && member.current != nullptr) waiting.push_back(member);
    }
    if (left.empty() || waiting.empty()) return;
    const FlightRecord& call = *waiting.front().current;
    find({.kind = FindingKind::kLeft,
          .group = left.front().group.name,
          .ranks = ranks_of(left),
          .waiting = ranks_of(waiting),
          .sequence = call.sequence,
          .text = ranks_text(ranks_of(left)) + " closed group " + quoted(left.front().group.name) + " after " +
                  counted(left.front().group.finished, "collective") + "; " + ranks_text(ranks_of(waiting)) + " " +
                  (waiting.size() == 1 ? verb("is", "was") : verb("are", "were")) + " in " +
                  call_text(waiting.front(), call)});
  }

  void behind(const Members& late, const Members& waiting, uint64_t now) {
    const Member& first = late.front();
    const bool one = late.size() == 1;
    const FlightRecord& wanted = *waiting.front().current;
    std::string text = ranks_text(ranks_of(late));
    if (first.current != nullptr) {
      text += " " + (one ? verb("is", "was") : verb("are", "were")) + " in " + call_text(first, *first.current) + ", " +
              duration_text(since(first.current->called_ns, now)) + (one ? position_text(*first.current) : "");
    } else {
      text += (one ? " " + verb("has", "had") : " " + verb("have", "had")) + " not called " + call_text(first, wanted) +
              ": ";
      if (first.last_finished != nullptr) {
        text += std::string(one ? "it" : "they") + " finished sequence " +
                std::to_string(first.last_finished->sequence) + " " +
                duration_text(since(first.last_finished->ended_ns, now)) + (past_ ? " before" : " ago");
        const bool gone = std::all_of(late.begin(), late.end(), [&](const Member& m) { return died(*m.rank); });
        if (!gone)
          text += " and " + (one ? verb("is", "was") : verb("are", "were")) +
                  " outside of the group since (computing, loading data, in another group, or stuck)";
      } else {
        text += std::string(one ? "it has" : "they have") + " finished no call of this group";
      }
    }
    const bool same = first.front() == waiting.front().front();
    std::set<uint64_t> places;
    for (const Member& member : waiting) places.insert(member.front());
    text += "; " + ranks_text(ranks_of(waiting)) + " " +
            (waiting.size() == 1 ? verb("waits", "waited") : verb("wait", "waited")) + (one ? " for it" : " for them");
    if (same) {
      text += " there, " + duration_text(since(wanted.called_ns, now));
    } else {
      text += places.size() == 1 ? " in sequence " + std::to_string(wanted.sequence) : " further on";
    }
    find({.kind = FindingKind::kBehind,
          .group = first.group.name,
          .ranks = ranks_of(late),
          .waiting = ranks_of(waiting),
          .sequence = first.front(),
          .text = text});
  }

  void together(const Members& members, uint64_t now) {
    uint64_t last_came = 0;
    std::string waits;
    for (const Member& member : members) {
      last_came = std::max(last_came, member.current->called_ns);
      if (member.current->peer < 0) continue;
      waits += (waits.empty() ? ": " : ", ") + ("rank " + std::to_string(member.rank->rank)) + " " +
               verb("waits", "waited") + " for rank " + std::to_string(member.current->peer) + " (hop " +
               std::to_string(member.current->hop) + " of " + std::to_string(member.current->hop_count) + ")";
    }
    const Member& first = members.front();
    const bool all = static_cast<int>(members.size()) == first.group.at.world_size;
    find({.kind = FindingKind::kWaiting,
          .group = first.group.name,
          .ranks = ranks_of(members),
          .sequence = first.current->sequence,
          .text =
              (all && members.size() > 1 ? "all " + counted(members.size(), "rank") : ranks_text(ranks_of(members))) +
              " " + (members.size() == 1 ? verb("is", "was") : verb("are", "were")) + " in " +
              call_text(first, *first.current) + ", " + duration_text(since(last_came, now)) + waits});
  }

  void formations() {
    std::map<std::string, std::vector<const RankRecord*>> forming;
    for (const RankRecord& rank : run_.ranks)
      if (rank.flight && rank.flight->forming) forming[*rank.flight->forming].push_back(&rank);
    for (const auto& [group, ranks] : forming) {
      std::vector<int> here, absent;
      uint64_t since_ns = 0;
      for (const RankRecord* rank : ranks) {
        here.push_back(rank->rank);
        since_ns = std::max(since_ns, rank->flight->forming_since_ns);
      }
      for (const RankRecord& rank : run_.ranks) {
        const bool in_it = std::find(here.begin(), here.end(), rank.rank) != here.end();
        const auto named = [&](const FlightGroup& of) { return of.open && of.name == group; };
        const bool has_it = rank.flight && std::any_of(rank.flight->groups.begin(), rank.flight->groups.end(), named);
        if (!in_it && !has_it) absent.push_back(rank.rank);
      }
      std::string text = ranks_text(here) + " " +
                         (here.size() == 1 ? verb("creates", "was creating") : verb("create", "were creating")) +
                         " group " + quoted(group) + ", " + duration_text(since(since_ns, run_.now_ns));
      if (!absent.empty())
        text += "; " + ranks_text(absent) + (absent.size() == 1 ? " " + verb("does", "did") : " " + verb("do", "did")) +
                " not";
      find({.kind = FindingKind::kForming, .group = group, .ranks = here, .waiting = {}, .text = text});
    }
  }

  void errors() {
    std::map<std::pair<uint64_t, std::string>, std::vector<int>> said;  // by time, so that the first comes first
    std::map<std::string, uint64_t> first;
    const bool explained = std::any_of(findings_.begin(), findings_.end(),
                                       [](const Finding& f) { return f.kind == FindingKind::kMismatch; });
    for (const RankRecord& rank : run_.ranks) {
      if (!rank.flight || !rank.flight->ending) continue;
      const Flight::Ending& ending = *rank.flight->ending;
      if (explained && ending.code == comm::Code::kMismatch) continue;  // both sides are shown already
      // Who passed the reason on makes no difference to it.
      const std::string text = std::string(comm::name(ending.code)) + ": " +
                               printable(ending.text.substr(0, ending.text.rfind(" (said by ")));
      const uint64_t at = first.try_emplace(text, rank.flight->ending->at_ns).first->second;
      said[{at, text}].push_back(rank.rank);
    }
    for (const auto& [what, who] : said)
      find({.kind = FindingKind::kError,
            .ranks = who,
            .text = ranks_text(who) + (who.size() == 1 ? " reports " : " report ") + what.second});
  }

  void idle() {
    for (const auto& [id, members] : groups_) {
      const Member& first = members.front();
      if (first.last_finished == nullptr || !first.group.open) continue;
      uint64_t last = 0;
      for (const Member& member : members)
        if (member.last_finished != nullptr) last = std::max(last, member.last_finished->ended_ns);
      find({.kind = FindingKind::kIdle,
            .group = first.group.name,
            .ranks = ranks_of(members),
            .sequence = first.last_finished->sequence,
            .text = "nothing " + verb("is", "was") + " under way in group " + quoted(first.group.name) + ": " +
                    ranks_text(ranks_of(members)) + " finished sequence " +
                    std::to_string(first.last_finished->sequence) + ", " + duration_text(since(last, run_.now_ns)) +
                    " ago"});
    }
  }

  std::vector<Standing> standings() const {
    std::vector<Standing> all;
    for (const auto& [id, members] : groups_) {
      for (const Member& member : members) {
        Standing standing{.rank = member.rank->rank,
                          .group = member.group.name,
                          .at = member.group.at,
                          .open = member.group.open,
                          .called = member.group.called,
                          .finished = member.group.finished};
        if (member.current != nullptr) standing.current = *member.current;
        if (member.last_finished != nullptr) standing.last_finished = *member.last_finished;
        all.push_back(std::move(standing));
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const Standing& a, const Standing& b) { return a.rank < b.rank; });
    return all;
  }

  const RunRecord& run_;
  const bool past_;  // the run is over: speak of it so
  std::map<uint64_t, Members> groups_;
  std::set<int> blamed_;
  std::vector<Finding> findings_;
};

}  // namespace

const char* name(FindingKind kind) {
  switch (kind) {
    case FindingKind::kDied:
      return "died";
    case FindingKind::kStopped:
      return "stopped";
    case FindingKind::kMismatch:
      return "mismatch";
    case FindingKind::kBehind:
      return "behind";
    case FindingKind::kLeft:
      return "left";
    case FindingKind::kForming:
      return "forming";
    case FindingKind::kWaiting:
      return "waiting";
    case FindingKind::kIdle:
      return "idle";
    case FindingKind::kError:
      return "error";
  }
  return "unknown";
}

Explanation explain(const RunRecord& run) { return Explainer(run).explain(); }

std::string ranks_text(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  std::vector<std::string> parts;
  for (size_t i = 0; i < ranks.size();) {
    size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (end - i > 3) {
      parts.push_back(std::to_string(ranks[i]) + "-" + std::to_string(ranks[end - 1]));
    } else {
      for (size_t at = i; at < end; ++at) parts.push_back(std::to_string(ranks[at]));
    }
    i = end;
  }
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < parts.size(); ++i) text += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  return text;
}

std::string duration_text(uint64_t nanoseconds) {
  if (nanoseconds < 1'000'000) return std::to_string(nanoseconds / 1000) + " us";
  const uint64_t milliseconds = nanoseconds / 1'000'000;
  if (milliseconds < 1000) return std::to_string(milliseconds) + " ms";
  if (milliseconds < 100'000)
    return std::to_string(milliseconds / 1000) + "." + std::to_string(milliseconds / 100 % 10) + " s";
  return std::to_string(milliseconds / 60'000) + " min " + std::to_string(milliseconds / 1000 % 60) + " s";
}

}  // namespace rondo::launcher
