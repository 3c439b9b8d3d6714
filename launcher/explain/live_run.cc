#include "launcher/explain/live_run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {
namespace {

/// How often events.jsonl says that flight records were written.
size_t flights_written(const std::string& events) {
  std::ifstream file(events);
  size_t count = 0;
  for (std::string line; std::getline(file, line);) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    if (event.is_object() && event.value("kind", "") == "flight") ++count;
  }
  return count;
}

}  // namespace

std::optional<pid_t> launcher_of(const std::string& folder) {
  const Descriptor file(::open((folder + "/events.jsonl").c_str(), O_RDONLY | O_CLOEXEC));
  struct flock lock {};
  lock.l_type = F_RDLCK;
  if (!file.open() || ::fcntl(file.get(), F_GETLK, &lock) != 0) return std::nullopt;
  if (lock.l_type == F_UNLCK || lock.l_pid <= 0) return std::nullopt;
  return lock.l_pid;
}

comm::Status ask_for_flights(const std::string& folder, pid_t launcher, comm::Deadline deadline) {
  const std::string events = folder + "/events.jsonl";
  const Descriptor changes(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!changes.open() || ::inotify_add_watch(changes.get(), events.c_str(), IN_MODIFY) < 0)
    return system_error("cannot watch " + events);
  const size_t before = flights_written(events);
  if (::sigqueue(launcher, SIGUSR2, {}) != 0) {  // queued: the records alone, no stacks
    if (errno == EPERM)
      return {comm::Code::kUnauthenticated,
              "the run's launcher (pid " + std::to_string(launcher) + ") is another user's"};
    return {comm::Code::kPeerLost, "the run's launcher (pid " + std::to_string(launcher) + ") has just ended"};
  }
  while (flights_written(events) == before) {
    if (launcher_of(folder) != launcher)
      return {comm::Code::kPeerLost, "the run's launcher (pid " + std::to_string(launcher) + ") has just ended"};
    const comm::TimePoint now = comm::Clock::now();
    if (deadline.passed(now))
      return {comm::Code::kTimeout, "the run's launcher (pid " + std::to_string(launcher) +
                                        ") does not write the flight records; is it stopped?"};
    // In slices: that the launcher is gone changes no file.
    constexpr std::chrono::milliseconds kSlice{100};
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(std::min<comm::Duration>(deadline.left(now), kSlice));
    pollfd changed{.fd = changes.get(), .events = POLLIN, .revents = 0};
    ::poll(&changed, 1, static_cast<int>(left.count()));
    std::array<char, 4096> drained;
    while (::read(changes.get(), drained.data(), drained.size()) > 0) continue;
  }
  return {};
}

char process_state(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const size_t name_end = stat.rfind(')');  // the name may hold anything
  return name_end != std::string::npos && name_end + 2 < stat.size() ? stat[name_end + 2] : '\0';
}

}  // namespace rondo::launcher
