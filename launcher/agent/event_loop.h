/// Waits for descriptors and calls who asked. One thread: the launcher's main thread.
#pragma once

#include <functional>
#include <map>

#include "launcher/base/descriptor.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

class EventLoop {
 public:
  /// Ready means readable, or closed by the other end.
  using Handler = std::function<void()>;

  comm::Status open();
  comm::Status watch(int fd, Handler handler);
  void unwatch(int fd);
  /// Waits at most `at_most`, then calls the handlers of what is ready, once each.
  void turn(comm::Duration at_most);

 private:
  Descriptor epoll_;
  std::map<int, Handler> handlers_;
};

}  // namespace rondo::launcher
