/// Address texts turned into what the socket calls want, and back.
///
/// Pure functions. A TCP address is numeric and names one interface, never a wildcard: which one is for those to decide
/// who listen. Unix sockets have abstract names.
#pragma once

#include <sys/socket.h>

#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

/// kInvalidArgument for a text that is no address, or a wildcard.
Result<SocketAddress> parse_address(const Address& address);

/// The text of a socket address that the kernel gave us.
Address format_address(const SocketAddress& address);

}  // namespace rondo::comm
