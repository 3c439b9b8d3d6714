#include "launcher/agent/meeting_point.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace rondo::launcher {
namespace {

struct HeldPort {
  Descriptor holder;
  int port = 0;
};

/// A free port of 127.0.0.1. SO_REUSEADDR lets a worker listen on it although we hold it, since we do not listen.
comm::Result<HeldPort> hold_free_port() {
  HeldPort held;
  held.holder = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!held.holder.open()) return system_error("socket");
  const int on = 1;
  ::setsockopt(held.holder.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(held.holder.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::getsockname(held.holder.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return system_error("cannot find a free port on 127.0.0.1");
  }
  held.port = ntohs(address.sin_port);
  return held;
}

}  // namespace

comm::Result<MeetingPoint> MeetingPoint::open(std::function<void(const comm::Status&)> on_refused) {
  const auto env = comm::real_env();
  MeetingPoint meeting;
  meeting.secret_ = comm::Secret::draw(*env);
  meeting.job_ = comm::JobId::draw(*env);
  comm::StoreServerOptions options;
  options.job = meeting.job_;
  options.secret = meeting.secret_;
  options.on_refused = std::move(on_refused);
  auto server = comm::serve_store(env, std::move(options));
  RONDO_TRY(server);
  meeting.server_ = std::move(*server);
  auto held = hold_free_port();
  RONDO_TRY(held);
  meeting.port_holder_ = std::move(held->holder);
  meeting.master_port_ = held->port;
  return meeting;
}

std::string MeetingPoint::secret_bytes() const {
  const auto bytes = secret_.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace rondo::launcher
