#include "launcher/agent/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "launcher/agent/core_map.h"
#include "launcher/agent/worker_environment.h"

namespace rondo::launcher {
namespace {

constexpr int kFirstUnused = kFlightDescriptor + 1;
constexpr int kAboveTargets = 64;

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  return list;
}

}  // namespace

comm::Result<pid_t> spawn(const SpawnRequest& request) {
  const WorkerDescriptors& wanted = request.descriptors;
  const std::array sources{wanted.input,   wanted.output,   wanted.errors, wanted.secret,
                           wanted.control, wanted.messages, wanted.flight};
  static_assert(kSecretDescriptor == 3 && kControlDescriptor == 4 && kMessagesDescriptor == 5 &&
                kFlightDescriptor == 6);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);

  // Copies far above the targets, so that no dup2 overwrites a source that is still needed.
  std::array<Descriptor, sources.size()> copies;
  comm::Status failed;
  for (size_t target = 0; target < sources.size(); ++target) {
    const int number = static_cast<int>(target);
    if (sources[target] < 0) {
      posix_spawn_file_actions_addopen(&actions, number, "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0);
      continue;
    }
    copies[target] = Descriptor(::fcntl(sources[target], F_DUPFD_CLOEXEC, kAboveTargets));
    if (!copies[target].open()) failed = system_error("dup");
    posix_spawn_file_actions_adddup2(&actions, copies[target].get(), number);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions, kFirstUnused);

  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &request.signal_mask);
  // What the launcher ignores or forwards has its default meaning in the worker.
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGQUIT}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigdefault(&attributes, &defaults);

  std::vector<std::string> words{request.shim, std::to_string(::getpid()),
                                 request.cpus.empty() ? "-" : cpu_list(request.cpus), request.program};
  words.insert(words.end(), request.arguments.begin(), request.arguments.end());

  pid_t pid = -1;
  if (failed.ok()) {
    const int error = posix_spawn(&pid, request.shim.c_str(), &actions, &attributes, pointers(words).data(),
                                  pointers(request.environment).data());
    if (error != 0) {
      failed = {comm::Code::kResource, "cannot start " + request.program + ": " + std::strerror(error)};
    }
  }
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (!failed.ok()) return failed;
  return pid;
}

}  // namespace rondo::launcher
