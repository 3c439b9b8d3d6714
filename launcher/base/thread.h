/// Starts a named thread of the launcher without throwing.
#pragma once

#include <functional>
#include <thread>

#include "rondo/comm/status.h"

namespace rondo::launcher {

/// `name` has at most 15 bytes and is listed in ARCHITECTURE.md. The thread has all signals blocked: they are for the
/// main thread. kResource when the system has no thread left.
comm::Result<std::thread> start_thread(const char* name, std::function<void()> body);

}  // namespace rondo::launcher
