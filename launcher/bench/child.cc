#include "launcher/bench/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"

namespace rondo::launcher {
namespace {

constexpr std::chrono::seconds kEndsWithin{5};  // a launcher that was asked to stop stops its ranks first

/// True when `handle` is readable before `deadline`.
bool readable(int handle, comm::Deadline deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left(comm::Clock::now())).count();
    pollfd ready{.fd = handle, .events = POLLIN, .revents = 0};
    const int count = ::poll(&ready, 1, static_cast<int>(std::min<int64_t>(left, 60'000)));
    if (count > 0) return true;
    if (left == 0) return false;
  }
}

}  // namespace

comm::Result<Child> Child::start(const std::vector<std::string>& words, const std::string& log_file) {
  const auto shim = find_part("rondo-exec");
  RONDO_TRY(shim);
  std::vector<std::string> all{*shim, std::to_string(::getpid()), "-", words.front()};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = -1;
  const comm::TimePoint started_at = comm::Clock::now();
  const int error = posix_spawn(&pid, shim->c_str(), &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return comm::Status(comm::Code::kResource, "cannot start " + words.front() + ": " + std::strerror(error));
  // glibc 2.36 declares it without C linkage.
  return Child(pid, Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))), started_at);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), process_(std::move(other.process_)), started_at_(other.started_at_) {}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGTERM);
  if (wait(comm::after(kEndsWithin)).ok()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

comm::Result<Child::End> Child::wait(comm::Deadline deadline) {
  if (!readable(process_.get(), deadline))
    return comm::Status(comm::Code::kTimeout, "process " + std::to_string(pid_) + " still runs at the deadline");
  const comm::TimePoint at = comm::Clock::now();
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
  return End{.exit_code = WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status), .at = at};
}

}  // namespace rondo::launcher
