/// The exit codes of `rondo`: one list for code and help.
#pragma once

#include <string>

#include "rondo/comm/status.h"

namespace rondo::launcher {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 2;       // the command line or the configuration is wrong; nothing was started
inline constexpr int kExitPreflight = 3;   // this machine lacks something; nothing was started
inline constexpr int kExitRendezvous = 4;  // hosts or ranks did not find each other
inline constexpr int kExitHang = 5;        // a rank, or a host, fell silent
inline constexpr int kExitCorrupt = 6;     // data, a checkpoint or a record is corrupt
inline constexpr int kExitPreempted = 75;  // stopped from outside, with a checkpoint to go on from
inline constexpr int kExitSignalBase = 128;

/// The table that `--help` ends with.
std::string exit_code_table();

/// The code of a run that `status` kept from starting: kExitUsage for the user's mistakes, else kExitPreflight.
int exit_code_of(const comm::Status& status);

}  // namespace rondo::launcher
