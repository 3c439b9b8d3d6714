/// What people see of a run: through the agent when there is one, else on this terminal.
#pragma once

#include <chrono>
#include <string>

#include "trainer/observe/messages.h"

namespace rondo::trainer {

/// One thread. Lines and progress are rank 0's; other ranks only report failures.
class Reporter {
 public:
  struct Options {
    int messages_descriptor = -1;
    int rank = 0;
  };
  explicit Reporter(const Options& options);

  void set_rank(int rank) { rank_ = rank; }
  void hello(const std::string& joined, const std::string& torch_version);
  /// A line for people on stdout (rank 0 only).
  void say(const std::string& line);
  /// At most a few times a second; the rest is dropped. Without an agent: a bar, if stderr is a terminal.
  void progress(const TrainingProgress& progress);
  /// Says what went wrong, to the agent and on stderr.
  void failure(const WorkerFailure& failure);
  void goodbye(int exit_code);

 private:
  void clear_bar();
  MessageSender sender_;
  int rank_;
  const bool terminal_;
  bool bar_drawn_ = false;
  std::chrono::steady_clock::time_point next_progress_;
};

}  // namespace rondo::trainer
