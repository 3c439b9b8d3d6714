/// Where this machine can be reached from others: the addresses of its network interfaces, and which of them are worth
/// telling. choose_interfaces() is pure; read_interfaces() asks the kernel.
#pragma once

#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

struct InterfaceAddress {
  std::string interface;
  Address listen;  // with port 0: "tcp:10.0.0.1:0"
  enum class Reach : uint8_t {
    kNetwork,
    kLoopback,
    kLinkLocal,  // IPv6 fe80::/10: means nothing without the name that the *other* machine gives its interface
  } reach = Reach::kNetwork;
  bool operator==(const InterfaceAddress&) const = default;
};

/// Of the interfaces that are up, IPv4 first, else in the kernel's order.
Result<std::vector<InterfaceAddress>> read_interfaces();

/// What to listen on so that other machines can reach this one. `names`: interfaces separated by commas, as users give
/// them; empty: all but loopback and those that join only what is inside this machine (bridges of containers and
/// virtual machines, by their usual names). kInvalidArgument when nothing is left, or a name does not exist; lists
/// those that do.
Result<std::vector<Address>> choose_interfaces(const std::vector<InterfaceAddress>& all, const std::string& names);

}  // namespace rondo::comm
