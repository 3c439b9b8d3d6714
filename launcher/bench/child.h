/// A program that a benchmark starts, times and waits for: its output in a file, its end under a deadline.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "launcher/base/descriptor.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

/// Main thread only: a child is killed when the thread that started it ends. One that is let go of is killed, too.
class Child {
 public:
  /// `words`: a path, then its arguments. stdout and stderr are appended to `log_file`.
  static comm::Result<Child> start(const std::vector<std::string>& words, const std::string& log_file);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;

  struct End {
    int exit_code = 0;  // or 128 + signal
    comm::TimePoint at;
  };
  /// kTimeout when it still runs then.
  comm::Result<End> wait(comm::Deadline deadline);
  /// Taken right before the start.
  comm::TimePoint started_at() const { return started_at_; }
  /// Readable when it ended.
  const Descriptor& process() const { return process_; }

 private:
  Child(pid_t pid, Descriptor process, comm::TimePoint started_at)
      : pid_(pid), process_(std::move(process)), started_at_(started_at) {}

  pid_t pid_;  // -1: ended
  Descriptor process_;
  comm::TimePoint started_at_;
};

}  // namespace rondo::launcher
