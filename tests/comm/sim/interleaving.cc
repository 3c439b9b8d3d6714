#include "tests/comm/sim/interleaving.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "tests/comm/sim/rank_program.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

// Longer than all deadlines that may pass one after the other.
constexpr Duration kHang = 200s;
// A starved rank looks late, and a broken link waits a moment for better evidence.
constexpr Duration kSoon = 1s;

bool is_one_of(Code code, std::initializer_list<Code> codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

/// The ranks at both ends of every strike of `kind`.
std::set<int> ends_of(const std::vector<Strike>& strikes, FaultKind kind) {
  std::set<int> ends;
  for (const Strike& strike : strikes) {
    if (strike.kind == kind) ends.insert({strike.point.rank, strike.point.peer});
  }
  return ends;
}

class Judge {
 public:
  Judge(const Story& story, std::vector<Strike> strikes) : story_(story), strikes_(std::move(strikes)) {}

  /// Empty when this error is one that the story explains.
  std::string judge(const Ending& ending) const {
    const Status& status = ending.status;
    if (status.where().rank != ending.rank) return "names rank " + std::to_string(status.where().rank);
    if (status.where().operation.empty() && ending.what != "close") return "names no operation";
    const int culprit = status.where().peer;
    const auto blames = [&](FaultKind kind) { return ends_of(strikes_, kind).count(culprit) != 0; };
    // A rank that an error kept from splitting is missing in the groups that others made.
    const bool missing_member = ending.group > 0 && status.code() == Code::kTimeout && culprit >= 0;
    switch (story_.trouble) {
      case Trouble::kNone:
        return "is an error of a story without trouble";
      case Trouble::kFlips:
        if (missing_member) return {};
        if (!is_one_of(status.code(), {Code::kCorrupt, Code::kPeerLost, Code::kMismatch, Code::kUnsupported,
                                       Code::kUnauthenticated, Code::kTimeout})) {
          return "has a code that a changed byte does not explain";
        }
        return blames(FaultKind::kFlip) ? "" : "blames a rank whose bytes did not change";
      case Trouble::kDrops:
        if (missing_member) return {};
        // Connections are made again; only several drops in a row, or of the last acknowledgements, are errors.
        if (!is_one_of(status.code(), {Code::kPeerLost, Code::kTimeout, Code::kUnauthenticated})) {
          return "has a code that a dropped connection does not explain";
        }
        return blames(FaultKind::kDrop) ? "" : "blames a rank whose connections held";
      case Trouble::kMutes:
        if (is_one_of(status.code(), {Code::kTimeout, Code::kUnauthenticated, Code::kPeerLost})) return {};
        return "has a code that a silent connection does not explain";
      case Trouble::kDeath:
        if (status.code() != Code::kPeerLost) return "has a code that a death does not explain";
        return culprit == story_.victim ? "" : "blames another than the dead rank";
      case Trouble::kFrozen:
        return status.code() == Code::kTimeout ? "" : "has a code that a stopped rank does not explain";
      case Trouble::kAbort:
        if (missing_member) return {};
        if (status.code() != Code::kAborted) return "has a code that an abort does not explain";
        return culprit == story_.victim ? "" : "blames another than the rank that gave up";
      case Trouble::kMismatch:
        if (missing_member) return {};
        if (status.code() != Code::kMismatch) return "has a code that another call does not explain";
        return status.message().find("rank " + std::to_string(story_.victim)) != std::string::npos
                   ? ""
                   : "does not describe the victim's call";
    }
    return {};
  }

 private:
  const Story& story_;
  const std::vector<Strike> strikes_;
};

/// Calls that were in flight when their group ended elsewhere, and did not end soon after.
std::vector<std::string> late_endings(const std::vector<Ending>& endings) {
  std::map<std::pair<int, std::string>, TimePoint> first_error;  // by group
  const auto key = [](const Ending& ending) {
    // Different splits of one line are different groups: their errors do not concern each other.
    return std::pair(ending.group, ending.group > 0 ? std::to_string(ending.rank) : "");
  };
  for (const Ending& ending : endings) {
    if (ending.status.ok() || ending.what == "close") continue;
    const auto [at, fresh] = first_error.emplace(key(ending), ending.ended);
    if (!fresh) at->second = std::min(at->second, ending.ended);
  }
  std::vector<std::string> late;
  for (const Ending& ending : endings) {
    if (ending.status.ok() || ending.what == "close" || ending.what == "group creation") continue;
    const TimePoint from = std::max(first_error[key(ending)], ending.begun);
    if (ending.ended - from <= kSoon) continue;
    late.push_back("rank " + std::to_string(ending.rank) + ", " + ending.what + ": ended " +
                   std::to_string(std::chrono::duration<double>(ending.ended - from).count()) +
                   " s after its group did");
  }
  return late;
}

}  // namespace

Verdict play(const Story& story) {
  test::FakeWorld world(story.ranks, {.transport = story.transport,
                                      .sim = story.sim,
                                      .faults = story.faults,
                                      .schedule = story.schedule,
                                      .death_known_after = story.death_known_after});
  std::vector<std::unique_ptr<RankProgram>> programs;
  for (int rank = 0; rank < story.ranks; ++rank) {
    programs.push_back(std::make_unique<RankProgram>(story, rank, world));
  }
  Verdict verdict;
  int turns_of_victim = 0;
  const bool ended = world.run(
      [&](size_t rank) {
        ++verdict.turns;
        if (static_cast<int>(rank) == story.victim && turns_of_victim++ == story.after_turns) {
          if (story.trouble == Trouble::kAbort) programs[rank]->abort();
          const bool dies = story.trouble == Trouble::kDeath && story.faults.planned.empty();
          if (dies) world.kill(story.victim);
          if (story.trouble == Trouble::kFrozen) world.freeze(story.victim);
          if (dies || story.trouble == Trouble::kFrozen) return Progress::kBlocked;
        }
        return programs[rank]->advance();
      },
      kHang);
  if (!ended) {
    for (const int rank : world.unfinished()) {
      verdict.complaints.push_back("rank " + std::to_string(rank) +
                                   " hangs: " + programs[static_cast<size_t>(rank)]->where());
    }
  }
  const Judge judge(story, world.injector()->strikes_so_far());
  std::vector<Ending> survivors;
  for (int rank = 0; rank < story.ranks; ++rank) {
    const RankProgram& program = *programs[static_cast<size_t>(rank)];
    for (const std::string& wrong : program.wrong()) verdict.complaints.push_back("wrong result: " + wrong);
    if (world.dead(rank) || (story.trouble == Trouble::kFrozen && rank == story.victim)) continue;
    for (const Ending& ending : program.endings()) {
      survivors.push_back(ending);
      world.trace().note(Event::kTurn, {static_cast<uint64_t>(ending.status.code()),
                                        static_cast<uint64_t>(static_cast<int64_t>(ending.status.where().peer)),
                                        static_cast<uint64_t>(ending.ended.time_since_epoch().count())});
      if (ending.status.ok()) {
        ++verdict.right;
        continue;
      }
      ++verdict.failed;
      if (const std::string why = judge.judge(ending); !why.empty()) {
        verdict.complaints.push_back("rank " + std::to_string(rank) + ", " + ending.what + ": " + ending.status.text() +
                                     " [" + why + "]");
      }
    }
  }
  for (std::string& late : late_endings(survivors)) verdict.complaints.push_back(std::move(late));
  verdict.trace_hash = world.trace().hash();
  verdict.event_count = world.trace().event_count();
  verdict.faults = world.injector()->counts();
  verdict.faults_told = world.injector()->story();
  return verdict;
}

std::string report(const Story& story, const Verdict& verdict) {
  std::string text = "seed " + std::to_string(story.seed) + ": " + describe(story);
  constexpr size_t kMostTold = 8;
  for (size_t i = 0; i < std::min(verdict.complaints.size(), kMostTold); ++i) {
    text += "  -> " + verdict.complaints[i] + "\n";
  }
  if (verdict.complaints.size() > kMostTold) {
    text += "  -> and " + std::to_string(verdict.complaints.size() - kMostTold) + " more\n";
  }
  if (!verdict.faults_told.empty()) text += "the last faults:\n" + verdict.faults_told;
  return text + "play it again: RONDO_SOAK_COUNT=1 RONDO_SOAK_FIRST=" + std::to_string(story.seed) + " " +
         std::filesystem::read_symlink("/proc/self/exe").string() +
         " --gtest_filter=Interleavings.EndInARightResultOrANamedErrorNeverInAHang\n";
}

}  // namespace rondo::comm
