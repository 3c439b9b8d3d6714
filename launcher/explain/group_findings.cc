/// What is found about groups: sequence numbers are the key.
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "launcher/base/text.h"
#include "launcher/explain/view.h"

namespace rondo::launcher {
namespace {

using comm::FlightRecord;
using comm::FlightState;

class GroupFinder {
 public:
  explicit GroupFinder(const View& view) : view_(view) {}
  std::vector<Finding> find_all() {
    for (const auto& [id, members] : view_.groups()) {
      if (!mismatch(members)) order(members);
    }
    return std::move(findings_);
  }

 private:
  void find(Finding finding) { findings_.push_back(std::move(finding)); }

  /// When the group's clock stopped: at its first failure, else the moment that the records describe.
  uint64_t moment(const Members& members) const {
    uint64_t first = 0;
    for (const Member& member : members) {
      const FlightRecord* record = member.current;
      if (record == nullptr || record->state != FlightState::kFailed) continue;
      if (first == 0 || record->ended_ns < first) first = record->ended_ns;
    }
    return first != 0 ? first : view_.run().now_ns;
  }

  /// ", hop 2 of 6, waits for rank 1".
  std::string position_text(const FlightRecord& record) const {
    if (record.hop_count == 0) return "";
    std::string text = ", hop " + std::to_string(record.hop) + " of " + std::to_string(record.hop_count);
    if (record.peer >= 0) text += ", " + view_.verb("waits", "waiting") + " for rank " + std::to_string(record.peer);
    return text;
  }

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
    std::string text = "ranks " + view_.verb("disagree", "disagreed") + " in sequence " + std::to_string(*sequence) +
                       " of group " + quoted(members.front().group.name) + ":";
    std::vector<int> all;
    const char* before = " ";
    for (const auto& [what, who] : calls) {
      text += before + ranks_text(who) + " " +
              (who.size() == 1 ? view_.verb("calls", "called") : view_.verb("call", "called")) + " " + printable(what);
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
                  (waiting.size() == 1 ? view_.verb("is", "was") : view_.verb("are", "were")) + " in " +
                  call_text(waiting.front(), call)});
  }

  void behind(const Members& late, const Members& waiting, uint64_t now) {
    const Member& first = late.front();
    const bool one = late.size() == 1;
    const FlightRecord& wanted = *waiting.front().current;
    std::string text = ranks_text(ranks_of(late));
    if (first.current != nullptr) {
      text += " " + (one ? view_.verb("is", "was") : view_.verb("are", "were")) + " in " +
              call_text(first, *first.current) + ", " + duration_text(since(first.current->called_ns, now)) +
              (one ? position_text(*first.current) : "");
    } else {
      text += (one ? " " + view_.verb("has", "had") : " " + view_.verb("have", "had")) + " not called " +
              call_text(first, wanted) + ": ";
      if (first.last_finished != nullptr) {
        text += std::string(one ? "it" : "they") + " finished sequence " +
                std::to_string(first.last_finished->sequence) + " " +
                duration_text(since(first.last_finished->ended_ns, now)) + (view_.past() ? " before" : " ago");
        const bool gone = std::all_of(late.begin(), late.end(), [&](const Member& m) { return view_.died(*m.rank); });
        if (!gone)
          text += " and " + (one ? view_.verb("is", "was") : view_.verb("are", "were")) +
                  " outside of the group since (computing, loading data, in another group, or stuck)";
      } else {
        text += std::string(one ? "it has" : "they have") + " finished no call of this group";
      }
    }
    const bool same = first.front() == waiting.front().front();
    std::set<uint64_t> places;
    for (const Member& member : waiting) places.insert(member.front());
    text += "; " + ranks_text(ranks_of(waiting)) + " " +
            (waiting.size() == 1 ? view_.verb("waits", "waited") : view_.verb("wait", "waited")) +
            (one ? " for it" : " for them");
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
               view_.verb("waits", "waited") + " for rank " + std::to_string(member.current->peer) + " (hop " +
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
              " " + (members.size() == 1 ? view_.verb("is", "was") : view_.verb("are", "were")) + " in " +
              call_text(first, *first.current) + ", " + duration_text(since(last_came, now)) + waits});
  }

  const View& view_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> group_findings(const View& view) { return GroupFinder(view).find_all(); }

}  // namespace rondo::launcher
