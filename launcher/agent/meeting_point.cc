#include "launcher/agent/meeting_point.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace rondo::launcher {
namespace {

struct FreeList {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

comm::Status cannot_hold(const MeetingPoint::Master& master, int error) {
  const std::string where = master.address + (master.port == 0 ? "" : ":" + std::to_string(master.port));
  if (error == EADDRNOTAVAIL) {
    return {comm::Code::kInvalidArgument,
            "--master-addr " + master.address + " is no address of this host, and rank 0 is on this host"};
  }
  if (error == EADDRINUSE) {
    return {comm::Code::kResource, "--master-port: somebody listens on " + where +
                                       " already; name another port, or none: then a free one is taken"};
  }
  return {comm::Code::kResource, "cannot hold a port on " + where + ": " + std::strerror(error)};
}

}  // namespace

comm::Result<HeldPort> hold_port(const MeetingPoint::Master& master) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  std::string host = master.address;  // torchrun writes an IPv6 address in brackets
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(master.port).c_str(), &hints, &raw); error != 0) {
    return comm::Status(comm::Code::kInvalidArgument,
                        "--master-addr " + master.address + " leads nowhere: " + ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, FreeList> list(raw);
  int error = EADDRNOTAVAIL;
  for (const addrinfo* at = list.get(); at != nullptr; at = at->ai_next) {
    HeldPort held{.holder = Descriptor(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0))};
    if (!held.holder.open()) continue;
    const int on = 1;
    ::setsockopt(held.holder.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    if (::bind(held.holder.get(), at->ai_addr, at->ai_addrlen) != 0 ||
        ::getsockname(held.holder.get(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
      error = errno;
      continue;
    }
    held.port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                                  : reinterpret_cast<const sockaddr_in&>(bound).sin_port);
    return held;
  }
  return cannot_hold(master, error);
}

comm::Result<MeetingPoint> MeetingPoint::open(Options options) {
  const auto env = comm::real_env();
  MeetingPoint meeting;
  meeting.secret_ = options.secret.empty() ? comm::Secret::draw(*env) : options.secret;
  meeting.job_ = comm::JobId::draw(*env);
  comm::StoreServerOptions store;
  store.listen = options.store;
  store.job = meeting.job_;
  store.secret = meeting.secret_;
  store.on_refused = std::move(options.on_refused);
  auto server = comm::serve_store(env, std::move(store));
  RONDO_TRY(server);
  meeting.server_ = std::move(*server);
  auto held = hold_port(options.master);
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
