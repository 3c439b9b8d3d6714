/// Runs `rondo` as a user would: in an empty folder, with its output caught and every wait under a deadline.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "launcher/base/descriptor.h"

namespace rondo::test {

/// A fresh folder under the system's temporary one; removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Outcome {
  int exit_code = -1;  // -1: killed by `signal`, or still running at the deadline (signal 0)
  int signal = 0;
  std::string output, errors;
};

/// One `rondo` process.
class Launch {
 public:
  struct Options {
    std::map<std::string, std::string> environment = {};  // on top of the test's own
    std::string program = RONDO_PROGRAM;
    std::filesystem::path folder = {};  // working directory
  };
  Launch(const std::vector<std::string>& arguments, const Options& options);
  ~Launch();  // kills it if it still runs
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// Reads until stdout or stderr holds `text`; false at the deadline or the end.
  bool wait_for(const std::string& text, std::chrono::seconds deadline = std::chrono::seconds(20));
  /// Waits for the end and reads the rest.
  Outcome wait(std::chrono::seconds deadline = std::chrono::seconds(40));
  const Outcome& so_far() const { return outcome_; }

 private:
  bool read_more(std::chrono::steady_clock::time_point deadline);

  pid_t pid_ = -1;
  launcher::Descriptor output_, errors_;
  Outcome outcome_;
};

/// `rondo ARGUMENTS` to its end.
Outcome run_rondo(const std::vector<std::string>& arguments, const Launch::Options& options);

/// Words before a program and its arguments, for /usr/bin/env: by these it finds `names` ("10.0.0.1 a\n") in place of
/// /etc/hosts. They are written to `file`; what is added there later is found, too. Needs root.
std::vector<std::string> with_names(const std::filesystem::path& file, const std::string& names);

std::string read_file(const std::filesystem::path& path);
std::vector<std::string> lines_of(const std::string& text);
/// False for zombies: they run no more.
bool process_lives(pid_t pid);
/// Asks `holds` again and again until it does or the deadline passed.
template <typename Condition>
bool eventually(std::chrono::milliseconds deadline, Condition holds);
/// Sleeps in the kernel for one polling interval of eventually().
void pause_briefly();

template <typename Condition>
bool eventually(std::chrono::milliseconds deadline, Condition holds) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    pause_briefly();
  }
  return true;
}

}  // namespace rondo::test
