/// The end of a run: what its readers have not taken yet.
#pragma once

#include "launcher/agent/console.h"
#include "launcher/agent/signals.h"

namespace rondo::launcher {

/// Waits for the readers of our output as any program does; a signal that stops ends that.
void deliver_output(Console& console, Signals& signals);

}  // namespace rondo::launcher
