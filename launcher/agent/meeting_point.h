/// Where the ranks of one job meet: its secret, its id, the store that the agent serves, and a port for programs that
/// meet by torchrun's rules instead.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "launcher/base/descriptor.h"
#include "rondo/comm/secret.h"
#include "rondo/comm/store.h"

namespace rondo::launcher {

class MeetingPoint {
 public:
  /// Where torchrun's rules have the ranks meet: an address of this host, and a port or 0 for a free one.
  struct Master {
    std::string address = "127.0.0.1";
    int port = 0;
  };
  struct Options {
    Master master;
    comm::Secret secret;                                  // empty: drawn
    comm::Address store{"tcp:127.0.0.1:0"};               // where the store listens
    std::function<void(const comm::Status&)> on_refused;  // from the store's thread
  };
  /// Starts the store's thread: the signal mask must be set before. kInvalidArgument: `master` is not of this host.
  /// kResource: somebody listens there.
  static comm::Result<MeetingPoint> open(Options options);

  std::string job() const { return job_.hex(); }
  std::string store_address() const { return server_->address().text; }
  /// Held, without listening, so that nobody is given it while the ranks start; rank 0 may listen on it.
  int master_port() const { return master_port_; }
  /// 32 raw bytes; for the pipe to a worker and nothing else.
  std::string secret_bytes() const;
  void close() { server_->close(); }

 private:
  comm::Secret secret_;
  comm::JobId job_;
  std::unique_ptr<comm::StoreServer> server_;
  Descriptor port_holder_;
  int master_port_ = 0;
};

/// A port that nobody listens on, held without listening. SO_REUSEADDR lets a worker listen on it all the same.
struct HeldPort {
  Descriptor holder;
  int port = 0;
};
comm::Result<HeldPort> hold_port(const MeetingPoint::Master& master);

}  // namespace rondo::launcher
