/// The agent's side of its connection to the coordinator of another host: tells it what happens here, and hears what is
/// to be done.
///
/// gRPC's threads only carry messages; orders are handled on the main thread, in take().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/agent/agent_link.h"
#include "launcher/control/authority.h"
#include "proto/control.pb.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"

namespace rondo::launcher {

class Uplink : public AgentEvents {
 public:
  static constexpr std::chrono::seconds kBeatEvery{1};
  /// Lines that wait for the coordinator: above it the ranks wait too.
  static constexpr size_t kCongestedBytes = 1 << 20;

  struct Options {
    std::vector<comm::Address> doors;  // of the coordinator
    std::string host;                  // this one
    comm::Deadline open_by;
  };
  /// Returns at once: what is said waits until the connection stands.
  static comm::Result<std::unique_ptr<Uplink>> open(const Authority& authority, Options options);

  /// For the event loop: readable when take() has something.
  virtual int handle() const = 0;
  /// What the coordinator said. An empty one: nothing more will come, see end_status().
  virtual std::vector<std::optional<control::CoordinatorSays>> take() = 0;
  /// Why the connection does not stand, or stands no more; kPending while it is opened.
  virtual comm::Status end_status() const = 0;

  virtual void send(control::AgentSays says) = 0;
  /// Sends lines that were collected, and a beat when one is due.
  virtual void on_time(comm::TimePoint now) = 0;
  virtual std::optional<comm::TimePoint> next_moment() const = 0;
  /// The coordinator is stopped, or about to be: beats would only pile up.
  virtual void stop_beating() = 0;
  virtual void beat_again() = 0;
  /// Says goodbye and waits until it is sent.
  virtual void close(int exit_code, comm::Deadline deadline) = 0;
};

}  // namespace rondo::launcher
