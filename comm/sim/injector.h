/// Faults drawn from a seed: what goes wrong, and where, in a job of fake ranks or of threads.
///
/// Every decision is a hash of (seed, kind of fault, point), and never of the order in which points are reached:
/// another interleaving moves no fault, and a seed replays exactly. Who lets bytes or messages pass asks at each point:
/// the streams of a simulated world (sim_env.h) below the checksums, a faulty transport (faulty_transport.h) above
/// them.
///
/// An interrupted call (EINTR) is no fault here: real streams repeat it within the call, so nobody above sees it.
/// Threading: any thread; on_kill is called by the thread that moves the rank.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/sim/trace.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {

enum class FaultKind : uint8_t {
  kDelay,   // bytes or a message are under way for longer
  kShort,   // for some calls a read or write moves one byte
  kAgain,   // for some calls nothing moves
  kRefuse,  // a dial is refused, as if nobody listened yet
  kDrop,    // the connection is reset at both ends, with all that was under way
  kMute,    // what is written from here on never arrives, and nobody is told
  kFlip,    // a byte changes on the way, below the checksums
  kStall,   // this rank's transport stands still
  kKill,    // this rank is gone, without goodbye
  // What no transport does: to show that a test would notice. Above the checksums.
  kFlipAbove,  // a byte of a delivered message is wrong
  kLose,       // a message counts as arrived and never comes
  kRepeat,     // a message comes twice
};
inline constexpr size_t kFaultKindCount = 12;
std::string_view name(FaultKind kind);

/// What a rank is about to do.
enum class Act : uint8_t { kDial, kRead, kWrite, kSend, kReceive, kSignal };
std::string_view name(Act act);

/// Where a fault may strike. A chance is a message, a signal, a dial, or a block of 64 bytes in a stream.
struct FaultPoint {
  int rank = -1;
  int peer = -1;
  Act act = Act::kSend;
  uint64_t nth = 0;       // streams: the block, from 0; dials: the attempt; messages: how many this pair had before
  uint64_t group = 0;     // messages and signals only
  uint64_t sequence = 0;  // messages: of the collective; streams: how many connections this pair had before
  uint32_t hop = 0;       // messages only
  uint32_t segment = 0;   // messages only
};
/// "rank 1 -> 2, write, block 17 of connection 0".
std::string describe(const FaultPoint& point);

struct Strike {
  FaultKind kind = FaultKind::kDelay;
  FaultPoint point;
};

struct FaultPlan {
  uint64_t seed = 1;
  /// By kind: of 10,000 chances, how many strike.
  std::array<int, kFaultKindCount> rates{};
  Duration delay_most = std::chrono::milliseconds(2);  // kDelay and kStall last up to this
  int storm_most = 12;                                 // kShort and kAgain last for up to so many calls
  /// Strikes exactly here, whatever the rates. -1 and empty: any.
  struct Planned {
    FaultKind kind = FaultKind::kDrop;
    int rank = 0;
    int peer = -1;
    Act act = Act::kSend;
    uint64_t nth = 0;
    std::optional<uint64_t> sequence = {};
  };
  std::vector<Planned> planned = {};

  int& rate(FaultKind kind) { return rates[static_cast<size_t>(kind)]; }
};

class Injector {
 public:
  explicit Injector(FaultPlan plan, std::shared_ptr<Trace> trace = nullptr);

  /// Whether `kind` strikes at `point`. Pure.
  bool would_strike(FaultKind kind, const FaultPoint& point) const;
  /// The same, and keeps a note of it.
  bool strikes(FaultKind kind, const FaultPoint& point) RONDO_EXCLUDES(mutex_);
  /// What else is left open at a point where `kind` strikes: a number below `below`. Pure.
  uint64_t draw(FaultKind kind, const FaultPoint& point, uint64_t below) const;
  Duration draw_duration(FaultKind kind, const FaultPoint& point) const;
  int draw_calls(FaultKind kind, const FaultPoint& point) const;

  /// Set before use: makes a rank vanish. Called once a rank.
  void on_kill(std::function<void(int rank)> kill) { on_kill_ = std::move(kill); }
  void kill(int rank) RONDO_EXCLUDES(mutex_);
  bool killed(int rank) const RONDO_EXCLUDES(mutex_);

  const FaultPlan& plan() const { return plan_; }
  std::vector<Strike> strikes_so_far() const RONDO_EXCLUDES(mutex_);
  /// How often each kind struck.
  std::array<uint64_t, kFaultKindCount> counts() const RONDO_EXCLUDES(mutex_);
  /// The last strikes, a line each, for the report of a failing seed.
  std::string story() const RONDO_EXCLUDES(mutex_);

 private:
  uint64_t hash(FaultKind kind, const FaultPoint& point, uint64_t salt) const;

  const FaultPlan plan_;
  const std::shared_ptr<Trace> trace_;  // shared with the simulated world; null with threads
  std::function<void(int)> on_kill_;

  mutable Mutex mutex_;
  std::vector<Strike> strikes_ RONDO_GUARDED_BY(mutex_);
  std::vector<int> killed_ RONDO_GUARDED_BY(mutex_);
  std::atomic<bool> any_killed_{false};
};

}  // namespace rondo::comm
