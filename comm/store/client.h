/// The way to a served store: dialing as a state machine, then requests over one connection.
///
/// Threading: a StoreDial belongs to one thread; the Store it gives may be used from any (internally locked).
#pragma once

#include <memory>
#include <vector>

#include "comm/transport/handshake.h"
#include "rondo/comm/store.h"

namespace rondo::comm {

class StoreDial {
 public:
  StoreDial(std::shared_ptr<Env> env, StoreClientOptions options)
      : env_(std::move(env)), options_(std::move(options)) {}

  /// Dials again after 10 ms while nobody answers. kFailed: status() says why no later try can do better.
  Progress advance(TimePoint now);
  const Status& status() const { return status_; }
  /// Why the last try failed; ok before the first.
  const Status& last_try() const { return last_try_; }
  std::vector<WaitHandle> wait_handles() const;
  /// After kDone.
  std::shared_ptr<Store> take() { return std::move(store_); }

 private:
  Progress dial(TimePoint now);
  Progress try_later(TimePoint now, const Status& why);
  Progress fail(const Status& why);

  const std::shared_ptr<Env> env_;
  const StoreClientOptions options_;
  std::unique_ptr<Handshake> handshake_;
  TimePoint next_try_{};
  Status status_;
  Status last_try_;
  std::shared_ptr<Store> store_;
};

}  // namespace rondo::comm
