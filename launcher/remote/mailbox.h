/// Brings what other threads hear to the main loop: they put, its descriptor becomes readable, the loop takes.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "launcher/base/descriptor.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::launcher {

template <typename T>
class Mailbox {
 public:
  comm::Status open() {
    bell_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return bell_.open() ? comm::Status() : system_error("eventfd");
  }
  int handle() const { return bell_.get(); }

  /// From any thread.
  void put(T item) {
    {
      const comm::MutexLock lock(mutex_);
      items_.push_back(std::move(item));
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t rung = ::write(bell_.get(), &one, sizeof one);  // full: it rings already
  }
  /// Everything that was put, in its order.
  std::vector<T> take() {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t read = ::read(bell_.get(), &count, sizeof count);
    const comm::MutexLock lock(mutex_);
    return std::exchange(items_, {});
  }

 private:
  Descriptor bell_;
  comm::Mutex mutex_;
  std::vector<T> items_ RONDO_GUARDED_BY(mutex_);
};

}  // namespace rondo::launcher
