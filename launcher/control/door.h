/// Where others reach the control plane of a job: the only listener, and the only thing that reads from somebody who
/// has not yet proved who he is. gRPC never listens: it gets a connection when its other side has proved itself, by the
/// job's secret (TCP: TLS 1.3, tunnel.h) or as the same user of this host (Unix socket: SO_PEERCRED).
///
///   terminal, agent --- tcp or unix ---> Door --- descriptor ---> gRPC
///
/// An unproved connection has 2 s and 8 KiB. At most 64 of them wait; one more ends the oldest of the address that has
/// the most, so that an honest host gets in however many idle ones somebody opens from elsewhere.
///
/// Threading: a thread of its own, "rondo-door", owns listeners and tunnels and calls the callbacks. All members may be
/// called from any thread but that one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "launcher/base/descriptor.h"
#include "launcher/control/authority.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::launcher {

class Door {
 public:
  static constexpr std::chrono::seconds kProveWithin{2};
  static constexpr size_t kMostUnproved = 64;
  static constexpr size_t kMostGuests = 512;

  /// Somebody who proved himself. `end` is a stream socket that does not block, and speaks plainly.
  struct Guest {
    Descriptor end;
    std::string who;      // "agent on node-3", or "user 1000 of this host"
    std::string address;  // where he comes from
  };
  struct Options {
    /// "tcp:10.0.0.1:0" (the kernel chooses the port) or "unix:@name". Never a wildcard: kInvalidArgument.
    std::vector<comm::Address> addresses;
    /// For TCP addresses.
    std::optional<Authority> authority;
    Holder holder;
    /// On the door's thread; must not block.
    std::function<void(Guest)> on_guest;
    /// Who was refused and why: each of the first ten, then the 100th, the 1000th and so on, with their number.
    std::function<void(const comm::Status&)> on_refused;
  };
  static comm::Result<std::unique_ptr<Door>> open(Options options);
  ~Door();  // as close() with a deadline that has passed

  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  /// In the order of the options, with real ports.
  const std::vector<comm::Address>& addresses() const { return addresses_; }
  uint64_t guests() const { return guests_; }
  /// Refused so far; on_refused has been told of each of them.
  uint64_t refused() const { return refused_; }

  /// Lets nobody in any more, waits for the tunnels to end, which they do when whoever got their ends closes these, and
  /// cuts those that have not at the deadline.
  void close(comm::Deadline deadline);

 private:
  class Keeper;  // what the thread owns

  Door() = default;
  std::optional<comm::Deadline> closing() const;

  std::vector<comm::Address> addresses_;
  std::atomic<uint64_t> guests_{0}, refused_{0};
  Descriptor wake_;
  mutable comm::Mutex mutex_;
  std::optional<comm::Deadline> closing_ RONDO_GUARDED_BY(mutex_);
  std::unique_ptr<Keeper> keeper_;
  std::thread thread_;
};

}  // namespace rondo::launcher
