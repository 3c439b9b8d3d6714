/// The calling side of the control plane: a gRPC channel over a line (line.h), or over a Unix socket to a door of this
/// host. One channel is one connection: it does not come back when that breaks; open another.
///
/// Threading: any thread. No process may be forked from here on (posix_spawn is none).
#pragma once

#include <memory>
#include <vector>

#include "launcher/control/authority.h"
#include "launcher/control/line.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"

namespace grpc {
class Channel;
}

namespace rondo::launcher {

class ControlChannel {
 public:
  /// To a coordinator anywhere, by the job's secret. Returns at once: calls wait until the line stands, and fail with
  /// UNAVAILABLE when it does not come about; status() says why.
  static comm::Result<std::unique_ptr<ControlChannel>> open(const Authority& authority, Line::Options options);
  /// To a door of this host ("unix:@name"), as the same user.
  static comm::Result<std::unique_ptr<ControlChannel>> open_local(const comm::Address& door);
  ~ControlChannel();  // as close() with a deadline that has passed

  /// For stubs. They, and calls on them, end before the channel closes.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  /// See Line::status(); of a local channel always ok.
  comm::Status status() const { return line_ ? line_->status() : comm::Status(); }
  comm::Status wait_open(comm::Deadline deadline) const { return line_ ? line_->wait_open(deadline) : comm::Status(); }

  /// Sends what is still under way and ends the connection, by the deadline.
  void close(comm::Deadline deadline);

 private:
  ControlChannel() = default;
  std::unique_ptr<Line> line_;
  std::shared_ptr<grpc::Channel> channel_;  // shared with stubs
};

}  // namespace rondo::launcher
