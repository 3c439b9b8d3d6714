#include "launcher/control/local_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace rondo::launcher {

bool is_local(const comm::Address& address) { return address.text.starts_with("unix:"); }

comm::Status same_user(const comm::Stream& stream) {
  const int64_t uid = stream.peer_uid();
  if (uid == static_cast<int64_t>(::geteuid())) return {};
  return {comm::Code::kUnauthenticated, "the other side is user " + std::to_string(uid) +
                                            ", and this is a job of user " + std::to_string(::geteuid()) +
                                            ": only that user may speak to it"};
}

comm::Status may_enter(const comm::Stream& stream) {
  return stream.peer_uid() == 0 ? comm::Status() : same_user(stream);
}

comm::Result<Descriptor> own_descriptor(const comm::Stream& stream) {
  Descriptor end(::fcntl(stream.handle(), F_DUPFD_CLOEXEC, 0));
  if (!end.open()) return system_error("duplicating a connection's descriptor");
  return end;
}

int handed_over(Descriptor end) { return ::fcntl(end.get(), F_DUPFD_CLOEXEC, 0); }

std::string peer_address(const comm::Stream& stream) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::getpeername(stream.handle(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return "?";
  if (address.ss_family == AF_INET) {
    const auto& at = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &at.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(at.sin_port));
  }
  if (address.ss_family != AF_INET6) return "?";
  const auto& at = reinterpret_cast<const sockaddr_in6&>(address);
  ::inet_ntop(AF_INET6, &at.sin6_addr, text.data(), text.size());
  return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(at.sin6_port));
}

comm::Result<Descriptor> call_local(const comm::Address& address) {
  auto stream = comm::real_env()->dial(address);
  RONDO_TRY(stream);
  // A Unix socket connects at once or not at all.
  const comm::IoResult connected = (*stream)->write({}, {});
  if (connected.state != comm::IoResult::State::kDone) {
    return comm::Status(comm::Code::kPeerLost, "nobody answers at " + address.text + ": " +
                                                   std::strerror(connected.error) + "; has the run ended?");
  }
  if (::geteuid() != 0) RONDO_TRY(same_user(**stream));  // root may look at anybody's run
  return own_descriptor(**stream);
}

}  // namespace rondo::launcher
