/// What can be said about the exception that this thread handles.
#pragma once

#include <optional>
#include <string>

namespace rondo::trainer {

/// "std::runtime_error: no gradient today", one line of at most 500 bytes; nothing when no exception is handled. Works
/// in a catch block and in a std::terminate handler, not in a destructor that runs while the stack is unwound.
std::optional<std::string> current_exception_text();

}  // namespace rondo::trainer
