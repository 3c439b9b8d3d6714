/// How a rank can be reached, as it says to all others through the store: one line of text. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

struct Contact {
  std::string host;                // see EndpointOptions::host
  std::string mailbox;             // for memory (region_post.h); empty: none
  std::vector<Address> addresses;  // of its data port; none for fake ranks
  bool probes = false;             // rank 0 alone: wishes to time links before the group is handed out
  bool operator==(const Contact&) const = default;
};

/// "host=a mailbox=rondo-... address=tcp:10.0.0.1:4711 address=tcp:[fd00::1]:4711 probe=yes"; what is empty is
/// left out.
std::string encode(const Contact& contact);
/// kCorrupt for a word that is none of these.
Result<Contact> decode_contact(const std::string& text);

}  // namespace rondo::comm
