/// One collective in flight.
///
/// Progress: wait() and progress() advance every collective in flight of this endpoint, of all groups. Payload is moved
/// by callers, and while none is there by the data thread where there is one (EndpointOptions::data_thread). Dropping
/// an unfinished Work aborts its group without blocking.
#pragma once

#include <memory>

#include "rondo/comm/deadline.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

class CollectiveState;

class [[nodiscard]] Work {
 public:
  Work() = default;  // done and ok
  Work(Work&&) noexcept = default;
  Work& operator=(Work&& other) noexcept;
  ~Work();

  /// Blocks until done, failed, or `deadline`: then kPending, and nothing changed. The group's operation timeout, when
  /// it passes, is an error (kTimeout) and aborts the group for all.
  Status wait(Deadline deadline);
  /// Blocks as long as the group's operation timeout allows.
  Status wait();

  /// Moves at most one segment of each collective in flight; never blocks. True when this one is finished or failed.
  bool progress();
  /// True when finished or failed; moves nothing.
  bool done() const;
  /// kPending until done().
  Status status() const;

  explicit Work(std::shared_ptr<CollectiveState> state) : state_(std::move(state)) {}
  /// Finished at birth: a launch that failed, or had nothing to do.
  static Work finished(const Status& status);

 private:
  bool ends_at_once();

  std::shared_ptr<CollectiveState> state_;
};

}  // namespace rondo::comm
