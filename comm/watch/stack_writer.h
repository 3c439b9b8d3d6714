/// Where this process was when it crashed, and where its threads are when somebody asks: raw stacks as text, written
/// into the memory of its flight recorder, which outlives it.
///
///   SEGV, BUS, FPE, ILL, ABRT   the crashed thread; then what the signal does by default happens: core dump, exit 128
///   + S USR2                        every thread that does not block it; the process goes on
///
/// A signal that the program (or a sanitizer) handles itself stays its own. The handlers call only what is safe in
/// them: names are found later, by whoever reads. A crash by an overflow of the stack is written for the thread that
/// installed them; for others the default action just happens.
///
/// Text: "thread 4711 name", then a line a frame, the innermost first: "/path/of/program+0x1a2b" (an offset in the
/// file), or "?+0x7f01..." (an address in no file).
#pragma once

#include <memory>

#include "comm/watch/flight_recorder.h"

namespace rondo::comm {

/// From now on stacks of this process go into `recorder`, which lives as long as the process then. Any thread; the last
/// recorder counts.
void write_stacks_into(std::shared_ptr<FlightRecorder> recorder);

}  // namespace rondo::comm
