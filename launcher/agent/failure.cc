#include "launcher/agent/failure.h"

#include <signal.h>

#include <algorithm>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

/// Strongest first.
enum class Class { kCrashed, kReported, kBare, kVictim };

bool shows_crash(int signal) {
  for (const int known : {SIGKILL, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGXCPU, SIGXFSZ, SIGTRAP}) {
    if (signal == known) return true;
  }
  return false;
}

Class class_of(const RankEvidence& evidence, int rank) {
  const bool blames_other = evidence.report && evidence.report->culprit >= 0 && evidence.report->culprit != rank;
  if (blames_other) return Class::kVictim;
  if (evidence.ending->lost || shows_crash(evidence.ending->signal)) return Class::kCrashed;
  if (evidence.report) return Class::kReported;
  return evidence.told_of.value_or(rank) != rank ? Class::kVictim : Class::kBare;
}

bool failed(const RankEvidence& evidence) {
  return evidence.ending && !evidence.ending->good() && !evidence.stopped_by_launcher;
}

/// Whom a failed rank waited for in vain.
std::optional<int> awaited(const RankEvidence& evidence, int rank) {
  std::optional<int> whom;
  if (evidence.told_timeout) whom = evidence.told_of;
  if (evidence.report && evidence.report->code == comm::name(comm::Code::kTimeout)) whom = evidence.report->culprit;
  return whom && *whom != rank ? whom : std::nullopt;
}

}  // namespace

bool blames_for_silence(const RankEvidence& evidence, int rank) {
  constexpr int kNobody = -1;
  return failed(evidence) && awaited(evidence, kNobody) == rank;
}

int Ending::code() const {
  if (lost) return kExitHang;
  return signal != 0 ? kExitSignalBase + signal : exit_code;
}

std::string Ending::describe() const {
  if (lost) return "is lost with its host";
  return signal != 0 ? "killed by signal " + signal_text(signal) : "exited with code " + std::to_string(exit_code);
}

Judgement judge(std::span<const RankEvidence> ranks, comm::TimePoint now) {
  struct Candidate {
    Class strength;
    comm::TimePoint at;
    int rank;
  };
  std::optional<Candidate> best;
  std::optional<comm::TimePoint> first;
  bool all_ended = true;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const int rank = static_cast<int>(i);
    all_ended = all_ended && ranks[i].ending;
    if (!failed(ranks[i])) continue;
    const Candidate candidate{class_of(ranks[i], rank), ranks[i].ending->at, rank};
    first = first ? std::min(*first, candidate.at) : candidate.at;
    const bool better = !best || candidate.strength < best->strength ||
                        (candidate.strength == best->strength && candidate.at < best->at);
    if (better) best = candidate;
  }
  if (!best) return {};
  const bool ripe = best->strength == Class::kCrashed || all_ended || now >= *first + kCollectFor;
  if (!ripe) return {.culprit = {}, .until = *first + kCollectFor};
  if (best->strength == Class::kVictim) {
    const auto silent = awaited(ranks[static_cast<size_t>(best->rank)], best->rank);
    const bool known = silent && *silent >= 0 && static_cast<size_t>(*silent) < ranks.size();
    if (known && !ranks[static_cast<size_t>(*silent)].ending) return {.culprit = silent, .hung = true, .until = {}};
  }
  return {.culprit = best->rank, .until = {}};
}

}  // namespace rondo::launcher
