/// Finds programs: what the user wants to run, and Rondo's own parts.
#pragma once

#include <string>

#include "rondo/comm/status.h"

namespace rondo::launcher {

/// The path of `name`: as it is when it holds a slash, else searched in PATH. kInvalidArgument says whether it is
/// missing, a folder, or not executable.
comm::Result<std::string> find_program(const std::string& name);

/// The path of one of Rondo's own programs ("rondo-exec"): beside this program, else in ../libexec/rondo.
comm::Result<std::string> find_part(const std::string& name);

/// Whether that file, a program or a module ("rondo-mpi-mpich.so"), is there.
bool has_part(const std::string& name);

/// The path of `rondo-train`; RONDO_TRAIN names another one: builds of one's own, and tests.
comm::Result<std::string> find_trainer();

}  // namespace rondo::launcher
