/// Sockets between processes of one host, where the kernel says whose the other end is: nobody needs a secret. And what
/// a socket's owner wants to know about it.
#pragma once

#include <string>

#include "launcher/base/descriptor.h"
#include "rondo/comm/env.h"

namespace rondo::launcher {

/// "unix:@name".
bool is_local(const comm::Address& address);

/// kUnauthenticated unless the process at the other end runs as this one's user.
comm::Status same_user(const comm::Stream& stream);

/// As same_user(), but root may come in, too: it could do all the same without asking.
comm::Status may_enter(const comm::Stream& stream);

/// A descriptor of its own for the stream's socket; the stream may go then.
comm::Result<Descriptor> own_descriptor(const comm::Stream& stream);

/// A number for somebody who closes it himself, as gRPC does; `end` is closed here. -1: no descriptor is left.
int handed_over(Descriptor end);

/// "10.0.0.2:40112", or "?".
std::string peer_address(const comm::Stream& stream);

/// Connects to a door of this host. kPeerLost: nobody is there. kUnauthenticated: somebody else's process is.
comm::Result<Descriptor> call_local(const comm::Address& address);

}  // namespace rondo::launcher
