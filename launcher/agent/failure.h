/// Who failed first, and who only fell with it. A pure function of what is known about each rank.
///
/// A victim is often reaped before the culprit: the kernel needs up to a second to take a large killed process apart,
/// while its neighbours see the broken link at once. So evidence is collected for a moment before anyone is named:
///   1. killed by a signal that shows a crash or a kill (KILL, SEGV, BUS, ...), which the launcher did not send: at
///   once;
///   2. a failure report of its own that blames nobody else;
///   3. a bad exit without a report, or abort();
///   4. a report that blames another rank, or such an exit after comm ended the rank's collectives because of another:
///   a victim. It decides only if nothing better comes.
/// Within one class the first decides. A victim that waited in vain for a rank that still has not ended by then,
/// stopped or stuck, gives the blame to that one: it hangs.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rondo/comm/deadline.h"

namespace rondo::launcher {

/// How a process ended.
struct Ending {
  int exit_code = 0;
  int signal = 0;  // 0: by exit
  comm::TimePoint at;
  bool lost = false;  // nobody saw its end: its host, or that host's agent, is gone
  bool good() const { return signal == 0 && exit_code == 0 && !lost; }
  /// What a shell calls it: the exit code, or 128 + signal; kExitHang of one that is lost.
  int code() const;
  /// "killed by signal 9 (SIGKILL)", "exited with code 37".
  std::string describe() const;
};

/// What a worker said about its own failure.
struct FailureReport {
  int culprit = -1;
  std::string code, text;
};

/// How a rank was found that did not end by itself.
struct Silence {
  char state = '\0';                                     // of its process: T is stopped
  std::optional<std::chrono::milliseconds> beat_before;  // since its keeper's last beat
};

struct RankEvidence {
  std::optional<Ending> ending;
  std::optional<FailureReport> report;
  std::optional<int> told_of;          // the rank because of which comm ended its collectives, by its flight recorder
  bool told_timeout = false;           // because it waited for that one in vain
  bool stopped_by_launcher = false;    // it got a signal from us before it ended
  std::optional<Silence> silence;      // just before that
  bool hung = false;                   // the coordinator's verdict: others waited for it in vain
  std::string out_of_memory;           // what shows that the kernel killed it for lack of memory; empty: nothing does
  std::vector<std::string> backtrace;  // of its crash, a line a frame
};

/// A rank that failed because `rank` did not take part in time.
bool blames_for_silence(const RankEvidence& evidence, int rank);

inline constexpr std::chrono::milliseconds kCollectFor{1000};  // after the first bad end

struct Judgement {
  std::optional<int> culprit;            // decided
  bool hung = false;                     // it has not ended: others waited for it in vain
  std::optional<comm::TimePoint> until;  // not decided yet: ask again then at the latest
};

/// `ranks` by rank. Neither member is set while nobody failed.
Judgement judge(std::span<const RankEvidence> ranks, comm::TimePoint now);

}  // namespace rondo::launcher
