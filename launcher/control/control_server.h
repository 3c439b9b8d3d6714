/// gRPC behind a door (door.h): serves the services of control.proto to whoever proved himself.
///
/// Threading: gRPC starts with the first guest and calls the services on threads of its own, one a call for as long as
/// it lasts. No process may be forked from open() on (posix_spawn is none).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/base/descriptor.h"
#include "launcher/control/authority.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"

namespace grpc {
class Service;
}

namespace rondo::launcher {

class ControlServer {
 public:
  struct Options {
    std::vector<comm::Address> addresses;  // as Door::Options; empty: no door, guests come by admit() alone
    std::optional<Authority> authority;    // for TCP addresses
    Holder holder;
    std::vector<grpc::Service*> services;  // outlive the server
    /// Who was not let in and why, on the door's thread; not everybody when there are many.
    std::function<void(const comm::Status&)> on_refused;
  };
  static comm::Result<std::unique_ptr<ControlServer>> open(Options options);
  virtual ~ControlServer() = default;  // as close() with a deadline that has passed

  /// In the order of the options, with real ports.
  virtual const std::vector<comm::Address>& addresses() const = 0;
  /// Serves somebody whom the caller let in: `end` is a stream socket that does not block. Any thread.
  virtual void admit(Descriptor end, const std::string& who) = 0;
  /// Connections that reached gRPC by the door, and that did not.
  virtual uint64_t guests() const = 0;
  virtual uint64_t refused() const = 0;
  /// Lets nobody in any more and waits for the calls under way; cancels at the deadline those that have not ended,
  /// whose handlers must return then.
  virtual void close(comm::Deadline deadline) = 0;
};

}  // namespace rondo::launcher
