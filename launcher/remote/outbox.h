/// Messages on their way into a gRPC stream, which takes one at a time: the next goes out when the one before is
/// written. Threading: any thread; `write` and `end` are called under no lock of the caller's, and must not block.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "rondo/comm/thread_annotations.h"

namespace rondo::launcher {

template <typename Message>
class Outbox {
 public:
  /// `write` begins to write a message, which stays where it is until written() is called; `end` comes once, after the
  /// last one.
  Outbox(std::function<void(const Message&)> write, std::function<void()> end)
      : write_(std::move(write)), end_(std::move(end)) {}

  void send(Message message) {
    const comm::MutexLock lock(mutex_);
    if (ending_) return;
    bytes_ += message.ByteSizeLong();
    waiting_.push_back(std::move(message));
    if (waiting_.size() == 1) write_(waiting_.front());
  }
  /// Nothing more will be sent.
  void finish() {
    const comm::MutexLock lock(mutex_);
    if (std::exchange(ending_, true)) return;
    if (waiting_.empty()) end_();
  }
  /// The stream wrote the message that it was given, or (not `well`) will write nothing more.
  void written(bool well) {
    const comm::MutexLock lock(mutex_);
    if (!well) {
      ending_ = true;
      waiting_.clear();
      bytes_ = 0;
      return;
    }
    bytes_ -= waiting_.front().ByteSizeLong();
    waiting_.pop_front();
    if (!waiting_.empty()) {
      write_(waiting_.front());
    } else if (ending_) {
      end_();
    }
  }
  /// That wait to be written.
  size_t bytes() const {
    const comm::MutexLock lock(mutex_);
    return bytes_;
  }

 private:
  const std::function<void(const Message&)> write_;
  const std::function<void()> end_;
  mutable comm::Mutex mutex_;
  std::deque<Message> waiting_ RONDO_GUARDED_BY(mutex_);  // the first is being written
  size_t bytes_ RONDO_GUARDED_BY(mutex_) = 0;
  bool ending_ RONDO_GUARDED_BY(mutex_) = false;
};

}  // namespace rondo::launcher
