/// Starts a named thread without throwing.
#pragma once

#include <functional>
#include <thread>

#include "rondo/comm/status.h"

namespace rondo::comm {

/// `name` has at most 15 bytes and is listed in ARCHITECTURE.md. kResource when the system has no thread left.
Result<std::thread> start_thread(const char* name, std::function<void()> body);

/// For a thread that destroys its own owner and so cannot be joined there: it is joined when the next one comes, or at
/// the end of the process. It must be about to end.
void join_later(std::thread thread);

}  // namespace rondo::comm
