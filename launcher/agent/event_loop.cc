#include "launcher/agent/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

namespace rondo::launcher {

comm::Status EventLoop::open() {
  all_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  patient_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!all_.open() || !patient_.open()) return system_error("epoll_create");
  epoll_event event{};  // not armed yet
  event.data.fd = patient_.get();
  if (::epoll_ctl(all_.get(), EPOLL_CTL_ADD, patient_.get(), &event) != 0) return system_error("epoll_ctl");
  return {};
}

comm::Status EventLoop::watch(int fd, Handler handler) { return add(all_, fd, std::move(handler)); }

comm::Status EventLoop::watch_patiently(int fd, Handler handler) { return add(patient_, fd, std::move(handler)); }

comm::Status EventLoop::add(const Descriptor& epoll, int fd, Handler handler) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return system_error("epoll_ctl");
  watched_[fd] = {.handler = std::move(handler), .by = &epoll};
  return {};
}

void EventLoop::unwatch(int fd) {
  const auto found = watched_.find(fd);
  if (found == watched_.end()) return;
  ::epoll_ctl(found->second.by->get(), EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(found);
}

void EventLoop::arm() {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.fd = patient_.get();
  armed_ = ::epoll_ctl(all_.get(), EPOLL_CTL_MOD, patient_.get(), &event) == 0;
}

void EventLoop::turn(comm::Duration at_most) {
  const comm::TimePoint now = comm::Clock::now();
  if (!armed_ && patient_from_ <= now) arm();
  if (!armed_) at_most = std::min(at_most, patient_from_ - now);
  call_ready(all_, at_most);
}

void EventLoop::call_ready(const Descriptor& epoll, comm::Duration at_most) {
  // Rounded up: a loop that wakes a little early would spin until the moment comes.
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(std::max(at_most, comm::Duration::zero()));
  std::array<epoll_event, 256> events;
  const int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(std::min<int64_t>(wait.count(), 60'000)));
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<size_t>(i)].data.fd;
    if (fd == patient_.get()) {
      armed_ = false;
      patient_from_ = comm::Clock::now() + kPatience;  // a handler may hurry()
      call_ready(patient_, {});
      continue;
    }
    const auto found = watched_.find(fd);
    if (found == watched_.end()) continue;          // an earlier handler of this turn took it out
    const Handler handler = found->second.handler;  // a copy: it may take itself out
    handler();
  }
}

}  // namespace rondo::launcher
