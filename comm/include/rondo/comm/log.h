/// Where comm's few words go. Comm never prints by itself: the program installs a sink.
#pragma once

#include <functional>
#include <string_view>

namespace rondo::comm {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// Called from any thread; must not call back into comm.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

}  // namespace rondo::comm
