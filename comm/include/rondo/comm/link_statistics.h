/// How good the connection to one peer was so far: what came damaged, what was sent again, how often it was made again.
///
/// A link with any of these works and gives right results, but something between the two ranks is faulty: memory, a
/// network card, a cable, a switch. Counted at each end for what that end saw. Group::links() gives them out; the log
/// sink of the endpoint gets a warning at the 1st, 10th, 100th, ... fault of a link.
#pragma once

#include <cstdint>
#include <string>

namespace rondo::comm {

struct LinkStatistics {
  int peer = -1;               // rank in the group
  std::string address;         // of the peer's port
  uint64_t bad_payloads = 0;   // came from the peer with a wrong CRC32C, and were asked for again
  uint64_t bad_headers = 0;    // likewise, of a frame's header: each ended a connection
  uint64_t reconnects = 0;     // how often a connection ended too early, for whatever reason, and was made again
  uint64_t frames_resent = 0;  // messages sent to the peer again, because of a bad payload or a new connection
};

}  // namespace rondo::comm
