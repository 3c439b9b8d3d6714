/// The run's side of its terminals (`rondo ps`, `logs`, `top`, `stop`): lets them in at a Unix socket (run_door.h), and
/// answers what they ask.
///
/// A run that nobody asks anything pays for a descriptor in its loop, no more: gRPC starts with the first guest. Then
/// its threads only carry messages; everything is answered on the main thread, in the handlers of the loop. A guest
/// that does not read loses lines (line_queue.h) and pictures of the run; nobody waits for him, but for kGoodbye at the
/// end.
///
/// Threading: main thread only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "launcher/agent/event_loop.h"
#include "launcher/base/descriptor.h"
#include "launcher/terminal/overview.h"
#include "proto/control.pb.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"

namespace grpc {
class Service;
}

namespace rondo::launcher {

class Operations {
 public:
  static constexpr size_t kMostGuests = 64;                  // at once; each costs descriptors and a buffer of lines
  static constexpr std::chrono::milliseconds kGoodbye{500};  // for guests to take what waits for them
  static constexpr std::chrono::seconds kPictureEvery{1};
  static constexpr const char* kJustEnded = "the run has just ended";  // the answer to a question that came too late

  /// Who knows the answers.
  struct Run {
    std::function<control::RunDescription()> describe;
    std::function<control::LogsHeader()> logs_header;
    std::function<control::StopAnswer(int signal)> stop;
    /// Somebody watches: the agents are to tell what the ranks use.
    std::function<void()> ask_usage;
    /// Who was not let in, and why; not everybody when there are many.
    std::function<void(const comm::Status&)> on_refused;
  };
  /// `overview` must outlive it.
  static comm::Result<std::unique_ptr<Operations>> make(Overview& overview, Run run);
  virtual ~Operations() = default;  // as close()

  /// For a server that is there already, which must be closed before this object goes.
  virtual grpc::Service& service() = 0;
  /// From now on terminals are let in. `admit`: hands a guest to that server; empty: an own one is started for him.
  using Admit = std::function<void(Descriptor end, const std::string& who)>;
  virtual comm::Status open(const comm::Address& door, EventLoop& loop, Admit admit) = 0;

  /// After every turn of the loop: those who watch get a new picture.
  virtual void on_time(comm::TimePoint now) = 0;
  virtual std::optional<comm::TimePoint> next_moment() const = 0;

  /// The run has ended: sends guests what waits for them, and takes leave.
  virtual void close() = 0;
};

}  // namespace rondo::launcher
