#include "launcher/agent/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace rondo::launcher {

comm::Status Signals::open(const std::vector<int>& stopping) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t forwarded;
  sigemptyset(&forwarded);
  for (const int signal : stopping) sigaddset(&forwarded, signal);
  sigaddset(&forwarded, SIGUSR1);
  struct sigaction hang_up {};
  ::sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler == SIG_IGN) sigdelset(&forwarded, SIGHUP);
  if (pthread_sigmask(SIG_BLOCK, &forwarded, &before_) != 0) return system_error("sigmask");
  // A mask that a careless parent left blocked would make workers deaf to what is forwarded.
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT, SIGUSR1}) sigdelset(&before_, signal);
  descriptor_ = Descriptor(::signalfd(-1, &forwarded, SFD_CLOEXEC | SFD_NONBLOCK));
  return descriptor_.open() ? comm::Status() : system_error("signalfd");
}

int Signals::next() {
  signalfd_siginfo info{};
  const ssize_t count = ::read(descriptor_.get(), &info, sizeof info);
  return count == static_cast<ssize_t>(sizeof info) ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace rondo::launcher
