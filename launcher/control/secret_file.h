/// Makes the file that RONDO_SECRET_FILE names: the secret of jobs over several hosts.
#pragma once

#include <string>

#include "rondo/comm/status.h"

namespace rondo::launcher {

/// Draws a secret and writes it to `path` in the form that comm::Secret::read_file takes, readable by its owner only,
/// whatever the umask. Never writes over a file, a link included: kInvalidArgument. A half-written file does not stay.
comm::Status write_new_secret(const std::string& path);

}  // namespace rondo::launcher
