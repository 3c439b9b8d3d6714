#include "launcher/control/control_server.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "launcher/control/door.h"
#include "launcher/control/grpc_limits.h"
#include "launcher/control/local_socket.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::launcher {
namespace {

class BehindDoor final : public ControlServer {
 public:
  ~BehindDoor() override { close({comm::Clock::now()}); }

  comm::Status open(Options options) {
    services_ = std::move(options.services);
    on_refused_ = options.on_refused;
    if (options.addresses.empty()) return {};
    auto door = Door::open(
        {.addresses = std::move(options.addresses),
         .authority = std::move(options.authority),
         .holder = std::move(options.holder),
         .on_guest = [this](Door::Guest guest) { admit(std::move(guest.end), guest.who + " (" + guest.address + ")"); },
         .on_refused = std::move(options.on_refused)});
    RONDO_TRY(door);
    door_ = std::move(*door);
    return {};
  }

  const std::vector<comm::Address>& addresses() const override { return door_ ? door_->addresses() : none_; }
  uint64_t guests() const override { return door_ ? door_->guests() : 0; }
  uint64_t refused() const override { return door_ ? door_->refused() : 0; }

  /// The door's thread has all signals blocked, and so have those that gRPC starts from it. Those that it starts from
  /// the main thread take no signal away either: what that thread waits for is blocked in them, too, and the rest has
  /// no handler.
  void admit(Descriptor end, const std::string& who) override {
    const comm::MutexLock lock(mutex_);
    if (closing_) return;
    if (!server_) {  // with the first guest: a run that nobody asks anything does not pay for it
      grpc::ServerBuilder builder;
      set_limits(builder);
      for (grpc::Service* service : services_) builder.RegisterService(service);
      server_ = builder.BuildAndStart();  // listens nowhere
    }
    const int handle = server_ ? handed_over(std::move(end)) : -1;
    if (handle >= 0) {
      grpc::AddInsecureChannelFromFd(server_.get(), handle);
    } else if (on_refused_) {
      on_refused_(
          {comm::Code::kResource, "cannot serve " + who + ": no thread or descriptor is left (ulimit -u, ulimit -n)"});
    }
  }

  void close(comm::Deadline deadline) override {
    {
      const comm::MutexLock lock(mutex_);
      if (std::exchange(closing_, true)) return;
    }
    if (server_) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left(comm::Clock::now()));
      server_->Shutdown(std::chrono::system_clock::now() + left);
      server_->Wait();
      server_.reset();
    }
    // gRPC has closed its ends: the tunnels only have to say goodbye.
    if (door_) door_->close({std::max(deadline.at, comm::Clock::now() + kGoodbye)});
  }

 private:
  static constexpr std::chrono::milliseconds kGoodbye{200};

  const std::vector<comm::Address> none_;
  std::vector<grpc::Service*> services_;
  std::function<void(const comm::Status&)> on_refused_;
  comm::Mutex mutex_;
  bool closing_ RONDO_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Server> server_;  // made by take(), and close()'s alone once closing_ is set
  std::unique_ptr<Door> door_;
};

}  // namespace

comm::Result<std::unique_ptr<ControlServer>> ControlServer::open(Options options) {
  auto server = std::make_unique<BehindDoor>();
  RONDO_TRY(server->open(std::move(options)));
  return std::unique_ptr<ControlServer>(std::move(server));
}

}  // namespace rondo::launcher
