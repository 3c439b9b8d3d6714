/// Where hosts meet, as addresses that sockets take.
#pragma once

#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

/// Every numeric address of `host`: "tcp:10.0.0.1:29400". Blocks as long as the system's resolver does.
/// kIo: the name leads nowhere, and may do so later: DNS learns of a pod when it runs. kInvalidArgument: it never
/// can (no_name()), or it leads to every address (0.0.0.0).
comm::Result<std::vector<comm::Address>> addresses_of(const std::string& host, int port);

/// Whether `host` cannot be the name of a host: an address, also one with a mistake ("10.0.0.300"), "a..b", "a b".
bool no_name(const std::string& host);

/// Whether `host` is a name that means another thing on every host: not localhost, and all its `addresses` are of
/// loopback, as Debian writes a host's own name into /etc/hosts (127.0.1.1). Nobody else could come there.
bool leads_home(const std::string& host, const std::vector<comm::Address>& addresses);

/// Where this host is met instead: of `own`, its addresses towards others, the only one of IPv4, else the only one.
/// kInvalidArgument: there are several, and others may know it by any of them.
comm::Result<comm::Address> met_instead(const std::string& host, const std::vector<comm::Address>& own);

/// The first of `addresses` that belongs to an interface of this host; empty text: none does.
comm::Address own_address(const std::vector<comm::Address>& addresses);

/// `address` with another port.
comm::Address with_port(const comm::Address& address, int port);

}  // namespace rondo::launcher
