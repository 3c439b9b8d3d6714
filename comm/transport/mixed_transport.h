/// The transport of a group whose ranks are on several hosts: messages only, each pair over its own kind of link,
/// shared memory inside a host and the transport for others across.
#pragma once

#include <memory>

#include "comm/transport/pipes.h"
#include "comm/transport/transport.h"

namespace rondo::comm {

struct MixedTransportOptions {
  std::unique_ptr<Pipes> inside;
  std::unique_ptr<Transport> across;
};
std::unique_ptr<Transport> make_mixed_transport(MixedTransportOptions options);

}  // namespace rondo::comm
