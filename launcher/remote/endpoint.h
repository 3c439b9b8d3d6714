/// Where hosts meet, as addresses that sockets take.
#pragma once

#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

/// Every numeric address of `host`: "tcp:10.0.0.1:29400". Blocks as long as the system's resolver does.
/// kInvalidArgument: the name leads nowhere, or to every address (0.0.0.0).
comm::Result<std::vector<comm::Address>> addresses_of(const std::string& host, int port);

/// The first of `addresses` that belongs to an interface of this host; empty text: none does.
comm::Address own_address(const std::vector<comm::Address>& addresses);

/// `address` with another port.
comm::Address with_port(const comm::Address& address, int port);

}  // namespace rondo::launcher
