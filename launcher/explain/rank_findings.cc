/// What is found about ranks as a whole.
#include <algorithm>
#include <map>
#include <optional>

#include "launcher/base/text.h"
#include "launcher/explain/view.h"

namespace rondo::launcher {
namespace {

using comm::FlightGroup;

class RankFinder {
 public:
  explicit RankFinder(const View& view) : view_(view) {}
  std::vector<Finding> find_all() {
    deaths();
    silences();
    formations();
    return std::move(findings_);
  }

 private:
  void find(Finding finding) { findings_.push_back(std::move(finding)); }

  void deaths() {
    for (const RankRecord& rank : view_.run().ranks) {
      if (!view_.died(rank)) continue;
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
    for (const auto& [id, members] : view_.groups()) {
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
    for (const RankRecord& rank : view_.run().ranks) {
      if (!rank.flight || rank.flight->alarmed_ns == 0) continue;
      alarm = alarm == 0 ? rank.flight->alarmed_ns : std::min(alarm, rank.flight->alarmed_ns);
    }
    const uint64_t now = alarm != 0 ? alarm : view_.run().now_ns;
    const auto silence = [&](const RankRecord& rank) {
      return rank.flight && rank.flight->beat_ns != 0 ? since(rank.flight->beat_ns, now) : 0;
    };
    const bool one_beats = std::any_of(view_.run().ranks.begin(), view_.run().ranks.end(), [&](const RankRecord& rank) {
      return rank.flight && rank.flight->beat_ns != 0 && silence(rank) < kSilentNs;
    });
    for (const RankRecord& rank : view_.run().ranks) {
      const bool ended = rank.exit && !rank.exit->stopped_by_launcher;
      if (ended || view_.died(rank)) continue;
      const bool halted = rank.process == 'T' || rank.process == 't';
      if (!halted && (!one_beats || silence(rank) < kSilentNs)) continue;
      std::string text = person(rank);
      if (halted) {
        text += " is stopped (process state " + std::string(1, rank.process) + ": SIGSTOP or a debugger)";
        if (silence(rank) >= kSilentNs) text += "; it has not beaten for " + duration_text(silence(rank));
      } else {
        text += " " + view_.verb("has", "had") + " not beaten for " + duration_text(silence(rank)) +
                ": stopped (SIGSTOP, a debugger), starved of its cpu" +
                (view_.run().state == RunState::kUnknown ? ", or gone" : "");
      }
      find({.kind = FindingKind::kStopped, .ranks = {rank.rank}, .text = text});
    }
  }

  void formations() {
    std::map<std::string, std::vector<const RankRecord*>> forming;
    for (const RankRecord& rank : view_.run().ranks)
      if (rank.flight && rank.flight->forming) forming[*rank.flight->forming].push_back(&rank);
    for (const auto& [group, ranks] : forming) {
      std::vector<int> here, absent;
      uint64_t since_ns = 0;
      for (const RankRecord* rank : ranks) {
        here.push_back(rank->rank);
        since_ns = std::max(since_ns, rank->flight->forming_since_ns);
      }
      for (const RankRecord& rank : view_.run().ranks) {
        const bool in_it = std::find(here.begin(), here.end(), rank.rank) != here.end();
        const auto named = [&](const FlightGroup& of) { return of.open && of.name == group; };
        const bool has_it = rank.flight && std::any_of(rank.flight->groups.begin(), rank.flight->groups.end(), named);
        if (!in_it && !has_it) absent.push_back(rank.rank);
      }
      std::string text =
          ranks_text(here) + " " +
          (here.size() == 1 ? view_.verb("creates", "was creating") : view_.verb("create", "were creating")) +
          " group " + quoted(group) + ", " + duration_text(since(since_ns, view_.run().now_ns));
      if (!absent.empty())
        text += "; " + ranks_text(absent) +
                (absent.size() == 1 ? " " + view_.verb("does", "did") : " " + view_.verb("do", "did")) + " not";
      find({.kind = FindingKind::kForming, .group = group, .ranks = here, .waiting = {}, .text = text});
    }
  }

  const View& view_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> rank_findings(const View& view) { return RankFinder(view).find_all(); }

}  // namespace rondo::launcher
