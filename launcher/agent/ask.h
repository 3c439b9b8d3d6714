/// Asks a program one question before the ranks start: runs it once and takes what it writes to stdout.
#pragma once

#include <string>
#include <vector>

#include "rondo/comm/status.h"

namespace rondo::launcher {

struct Answer {
  int exit_code = 0;  // or 128 + signal
  std::string output;
};

/// Runs `arguments` (the path first) with stderr as ours and no input. Before other threads start; main thread.
comm::Result<Answer> ask(const std::vector<std::string>& arguments);

}  // namespace rondo::launcher
