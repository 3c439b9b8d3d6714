#include "launcher/agent/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

namespace rondo::launcher {

comm::Status EventLoop::open() {
  epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  return epoll_.open() ? comm::Status() : system_error("epoll_create");
}

comm::Status EventLoop::watch(int fd, Handler handler) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return system_error("epoll_ctl");
  handlers_[fd] = std::move(handler);
  return {};
}

void EventLoop::unwatch(int fd) {
  if (handlers_.erase(fd) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::turn(comm::Duration at_most) {
  // Rounded up: a loop that wakes a little early would spin until the moment comes.
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(std::max(at_most, comm::Duration::zero()));
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(std::min<int64_t>(wait.count(), 60'000)));
  for (int i = 0; i < count; ++i) {
    const auto found = handlers_.find(events[static_cast<size_t>(i)].data.fd);
    if (found == handlers_.end()) continue;  // an earlier handler of this turn took it out
    const Handler handler = found->second;   // a copy: it may take itself out
    handler();
  }
}

}  // namespace rondo::launcher
