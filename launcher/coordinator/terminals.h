/// What a run tells its terminals (`rondo ps`, `logs`, `top`), and lets them do (`rondo stop`).
///
/// A run whose door cannot be opened goes on without: events.jsonl has the reason. Threading: main thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "launcher/agent/event_log.h"
#include "launcher/agent/event_loop.h"
#include "launcher/agent/job_request.h"
#include "launcher/agent/run_folder.h"
#include "launcher/coordinator/coordinator.h"
#include "launcher/remote/attendance.h"
#include "launcher/remote/operations.h"
#include "launcher/terminal/overview.h"

namespace rondo::launcher {

class Terminals {
 public:
  /// `request` must outlive it.
  explicit Terminals(const JobRequest& request);
  ~Terminals() { close(); }
  Terminals(const Terminals&) = delete;
  Terminals& operator=(const Terminals&) = delete;

  /// For the coordinator to keep up to date.
  Overview& overview() { return overview_; }
  /// For the attendance, which serves terminals, too, where there is one. Null: there will be no door.
  grpc::Service* service();
  /// `folder`, `events` and `attendance` (may be null) are used until close().
  void open(const RunFolder& folder, Attendance* attendance, EventLoop& loop, EventLog& events);
  /// The ranks are about to start.
  void attend(Coordinator& coordinator) { coordinator_ = &coordinator; }

  void on_time(comm::TimePoint now);
  std::optional<comm::TimePoint> next_moment() const;
  /// The run has ended: whoever follows its lines gets what is left of them.
  void close();

 private:
  control::RunDescription describe() const;
  control::LogsHeader logs_header() const;
  control::StopAnswer stop(int signal);

  const JobRequest& request_;
  const std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();
  Overview overview_;
  const RunFolder* folder_ = nullptr;
  EventLog* events_ = nullptr;
  Coordinator* coordinator_ = nullptr;  // null: the hosts have not met yet
  comm::Status unavailable_;            // why there is no door
  std::unique_ptr<Operations> operations_;
};

}  // namespace rondo::launcher
