/// Who knocks at a door in these tests: by the rules, or not.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/base/descriptor.h"
#include "launcher/control/authority.h"
#include "rondo/comm/env.h"
#include "rondo/comm/secret.h"

namespace rondo::test {

/// A secret of 32 equal bytes, and its authority.
comm::Secret secret_of(int byte);
launcher::Authority authority_of(int byte);

/// A connected TCP socket, for those who do not keep to the rules.
launcher::Descriptor raw_connection(const comm::Address& door);

/// Sends all of `bytes`; false when the other side closed before.
bool send_all(const launcher::Descriptor& end, std::string_view bytes);
/// Reads exactly so many bytes; less at the end or after 20 s.
std::string receive(const launcher::Descriptor& end, size_t bytes);
/// Reads until the end; false after 20 s.
bool reaches_end(const launcher::Descriptor& end);

/// Asks `holds` again and again until it does or 20 s passed.
bool soon(const std::function<bool()>& holds);

/// A text that tells each position from its neighbours.
std::string pattern(size_t bytes, unsigned seed);

/// Local addresses of this process's listening TCP sockets, as /proc/net/tcp{,6} has them ("0100007F:1F90").
std::vector<std::string> own_tcp_listeners();

}  // namespace rondo::test
