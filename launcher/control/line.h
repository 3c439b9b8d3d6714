/// The calling side of a door: a secured connection to it, and one end of a socket pair to speak plainly into.
///
/// open() returns at once. What is written into the end waits until the connection stands; when it does not come about,
/// or breaks, the end is closed, and status() says why.
///
/// Threading: a thread of its own, "rondo-line", dials, proves and carries. All members may be called from any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "launcher/base/descriptor.h"
#include "launcher/control/authority.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"

namespace rondo::launcher {

class Line {
 public:
  static constexpr std::chrono::seconds kTryFor{3};  // one door at a time

  struct Options {
    std::vector<comm::Address> doors;  // of one coordinator: tried in turn until one opens
    Holder holder;                     // who calls
    comm::Deadline open_by;            // the doors may open later than this side calls
  };
  /// `authority` is needed during the call only.
  static comm::Result<std::unique_ptr<Line>> open(const Authority& authority, Options options);
  ~Line();  // as close() with a deadline that has passed

  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  /// The end to speak into, a stream socket that does not block. Once.
  Descriptor take_end() { return std::move(end_); }

  /// Ok while the line stands. kPending while it is not yet there; afterwards why it is not: kTimeout names the doors
  /// and what was wrong with each, kUnauthenticated, kCorrupt: no door of ours, kPeerLost, kClosed: ended in order.
  comm::Status status() const;
  /// Waits until it is not kPending any more, or the deadline passed.
  comm::Status wait_open(comm::Deadline deadline) const;

  /// Waits for the line to end, which it does when the end is closed, and cuts it at the deadline.
  void close(comm::Deadline deadline);

 private:
  class Keeper;  // what the thread owns

  Line() = default;
  void set(comm::Status status);
  std::optional<comm::Deadline> closing() const;

  Descriptor end_;
  Descriptor wake_;
  // Guarded by mutex_, which is not comm::Mutex because a condition waits with it.
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  comm::Status status_ = comm::Status::pending();
  std::optional<comm::Deadline> closing_;
  // The thread's.
  std::unique_ptr<Keeper> keeper_;
  std::thread thread_;
};

}  // namespace rondo::launcher
