/// Turns the raw stacks of a flight record (rondo/comm/flight.h) into lines with names, from the symbol tables of the
/// programs and libraries on this host. It needs no debugger, and no debug information: names of functions, not lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rondo::launcher {

/// "main+0x1c (program)" for a frame "/path/of/program+0x1a2b" whose function is known, else the frame as it is; a
/// "thread 4711 name" line becomes "thread name (4711):". Lines of frames are indented when there is more than one
/// thread. C++ names are readable, and cut when they are very long.
std::vector<std::string> named_stacks(std::string_view text);

/// The name of the function at `offset` of an ELF file, with the distance from its start; nothing when the file or the
/// function is not known.
std::optional<std::string> function_at(const std::string& path, uint64_t offset);

}  // namespace rondo::launcher
