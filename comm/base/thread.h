/// Starts a named thread without throwing.
#pragma once

#include <functional>
#include <thread>

#include "rondo/comm/status.h"

namespace rondo::comm {

/// `name` has at most 15 bytes and is listed in ARCHITECTURE.md. kResource when the system has no thread left.
Result<std::thread> start_thread(const char* name, std::function<void()> body);

}  // namespace rondo::comm
