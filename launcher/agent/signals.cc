#include "launcher/agent/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace rondo::launcher {
namespace {

bool ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

comm::Status Signals::open(const std::vector<int>& stopping) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t taken;
  sigemptyset(&taken);
  for (const int signal : stopping) sigaddset(&taken, signal);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT}) sigaddset(&taken, signal);
  for (const int signal : {SIGHUP, SIGTSTP})
    if (ignored(signal)) sigdelset(&taken, signal);
  if (pthread_sigmask(SIG_BLOCK, &taken, &before_) != 0) return system_error("sigmask");
  // A mask that a careless parent left blocked would make workers deaf to what is passed on.
  for (const int signal : {SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT}) sigdelset(&before_, signal);
  descriptor_ = Descriptor(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  return descriptor_.open() ? comm::Status() : system_error("signalfd");
}

bool Signals::stops(int signal) {
  return signal != 0 && signal != SIGUSR1 && signal != SIGUSR2 && signal != SIGTSTP && signal != SIGCONT;
}

Signals::Came Signals::next() {
  signalfd_siginfo info{};
  const ssize_t count = ::read(descriptor_.get(), &info, sizeof info);
  if (count != static_cast<ssize_t>(sizeof info)) return {};
  return {.signal = static_cast<int>(info.ssi_signo), .by_program = info.ssi_code == SI_QUEUE};
}

}  // namespace rondo::launcher
