#include "launcher/agent/deliver_output.h"

#include <poll.h>

#include <chrono>

namespace rondo::launcher {

void deliver_output(Console& console, Signals& signals) {
  constexpr std::chrono::milliseconds kRetry{5};
  const auto stopped = [&] { return Signals::stops(signals.next().signal); };
  while (!console.flush() && !stopped()) {
    pollfd signal{.fd = signals.handle(), .events = POLLIN, .revents = 0};
    ::poll(&signal, 1, static_cast<int>(kRetry.count()));
  }
}

}  // namespace rondo::launcher
