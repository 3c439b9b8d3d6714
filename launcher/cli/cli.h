/// The command line: finds the verb and runs it. Verbs have a file each.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

/// `arguments` as main() got them, the program's name first. Returns the process's exit code.
int run_cli(const std::vector<std::string>& arguments);

}  // namespace rondo::launcher
