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

  /// How long what is watched with patience may wait after it was last looked at. Many ranks that print a line now and
  /// then would wake the launcher for each of them.
  static constexpr std::chrono::milliseconds kPatience{20};

  comm::Status open();
  comm::Status watch(int fd, Handler handler);
  /// As watch(); but the handler is called at most once in kPatience, together with the others of this kind.
  comm::Status watch_patiently(int fd, Handler handler);
  /// The next turn has no patience: more is coming than a pipe holds, or somebody waits for the end.
  void hurry() { patient_from_ = {}; }
  void unwatch(int fd);
  /// Waits at most `at_most`, then calls the handlers of what is ready, once each.
  void turn(comm::Duration at_most);

 private:
  struct Watched {
    Handler handler;
    const Descriptor* by;
  };
  comm::Status add(const Descriptor& epoll, int fd, Handler handler);
  /// Has `all_` say when something of `patient_` is ready, once.
  void arm();
  void call_ready(const Descriptor& epoll, comm::Duration at_most);

  Descriptor all_, patient_;        // `patient_` is itself in `all_`
  std::map<int, Watched> watched_;  // by descriptor
  bool armed_ = false;
  comm::TimePoint patient_from_{};  // not armed before
};

}  // namespace rondo::launcher
