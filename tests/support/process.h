/// A child process of a test: its lines of output, its end, every wait under a deadline. Killed with the handle.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rondo::test {

class Process {
 public:
  struct Options {
    std::string program;
    std::vector<std::string> arguments;
    std::map<std::string, std::string> environment;  // on top of the test's own
  };
  explicit Process(const Options& options);
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// The next line that the process writes to stdout; nothing at its end or at the deadline.
  std::optional<std::string> line(std::chrono::milliseconds deadline = std::chrono::seconds(20));
  /// Exit code, or 128 + signal; nothing when it still runs at the deadline.
  std::optional<int> end(std::chrono::milliseconds deadline = std::chrono::seconds(20));

 private:
  pid_t pid_ = -1;
  int pidfd_ = -1;
  int output_ = -1;
  std::string pending_;
};

}  // namespace rondo::test
