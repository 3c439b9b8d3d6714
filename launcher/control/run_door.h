/// The name of the Unix socket at which terminals reach a run: abstract, so that no file is left behind, and telling
/// whose run it is, so that every terminal of the network namespace finds the live runs in /proc/net/unix without
/// asking anybody. Pure functions.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rondo/comm/env.h"

namespace rondo::launcher {

struct RunDoor {
  static constexpr size_t kLongestRun = 72;  // a socket's name has room for 107 bytes

  uid_t user = 0;
  pid_t launcher = 0;  // run ids of two folders may be equal
  std::string run;     // its id; cut to kLongestRun, with '_' for what is awkward in a table
  bool operator==(const RunDoor&) const = default;
};

/// "unix:@rondo-run-1000-4711-mine-20250131-120000-4711".
comm::Address address_of(const RunDoor& door);

/// The doors in the text of /proc/net/unix that somebody listens at, by run id.
std::vector<RunDoor> doors_in(std::string_view table);

}  // namespace rondo::launcher
