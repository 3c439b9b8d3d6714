/// What this machine says of itself to ranks on others: which host it is, where it listens, whom a name means.
#pragma once

#include <string>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// EndpointOptions::host: a name for people, then what tells apart: the boot of this kernel, the network namespace, and
/// RONDO_HOST_ID. Equal texts are a claim, which sharing memory proves.
std::string host_text(const std::string& host_id);

/// Where a rank of this job accepts data links: on one host loopback, or a Unix socket if no secret was given; else the
/// interfaces that were named, or all that lead to other hosts.
Result<std::vector<Address>> data_addresses(const Bootstrap& bootstrap, Env& env);

/// Every host name in a TCP address is looked up: blocks as long as the system's resolver does. Of several addresses
/// the first that is not loopback. kInvalidArgument for a name that nobody knows.
Result<Address> resolve(const Address& address);

}  // namespace rondo::comm
