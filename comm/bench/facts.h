/// What a reader must know to judge a figure: build, machine, run.
#pragma once

#include "comm/bench/report.h"

namespace rondo::bench {

/// Whether figures of this build may be quoted: an optimised build without sanitizers.
bool is_release_build();
/// "Release", "Debug", "RelWithDebInfo with address,undefined".
std::string build_type();

/// Commit, build, compiler and flags, machine, load, and the cpu of each rank.
Facts machine_facts(std::span<const int> cpus);

}  // namespace rondo::bench
