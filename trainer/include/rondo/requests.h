/// What somebody outside asks of a job while it trains, heard by all ranks at the same step.
///
///   rondo::Requests requests(job);
///   for (auto& batch : *loader) {
///     ...
///     optimizer.step();
///     const auto asked = requests.agree();
///     if (asked.checkpoint) rondo::save(job, "run", *model, optimizer, sampler);
///     if (asked.stop) return static_cast<int>(rondo::kPreempted);
///   }
///
/// Asked by signals to the launcher, which passes them on: USR1 for a checkpoint; INT or TERM for an end after this
/// step, with a checkpoint.
#pragma once

#include <csignal>
#include <cstdint>
#include <vector>

#include "rondo/job.h"

namespace rondo {

/// What a program ends with that was stopped from outside and left a checkpoint to go on from.
inline constexpr ExitCode kPreempted = ExitCode{75};

class Requests {
 public:
  /// From now on, as long as it lives: the first INT or TERM does not end this process, the second does; and USR1 does
  /// not. Signals that the program handles itself stay its own. Make it once a process, on the main thread.
  explicit Requests(const Job& job);
  ~Requests();
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  struct Asked {
    bool checkpoint = false;  // a stop asks for one, too
    bool stop = false;
    int signal = 0;  // that asked for the stop, on some rank
  };
  /// Collective; the same answer on every rank. A few bytes, on the user's group.
  Asked agree();

 private:
  struct Before {
    int signal;
    struct sigaction action;
  };
  const Job job_;
  std::vector<Before> before_;
  int64_t checkpoints_seen_;
};

}  // namespace rondo
