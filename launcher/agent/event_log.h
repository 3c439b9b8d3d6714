/// events.jsonl: what happened to the run, one JSON object a line, each with wall time and the monotonic clock.
/// Threading: write() from any thread; an event is one append, so events never mix.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {

class EventLog {
 public:
  /// Appends to `path`, which is made, and holds it.
  comm::Status open(const std::string& path);
  /// Holds a record lock on the file as long as this process lives: so `rondo explain` learns from the kernel who
  /// writes it. To be said again after this process has read the file: to close any descriptor of it ends the lock.
  void hold();
  /// Writes at once: the file is complete up to the moment at which the launcher dies.
  void write(const char* kind, const nlohmann::json& fields);

 private:
  Descriptor file_;
};

/// "2025-01-31T12:00:00Z", of now.
std::string utc_now();

}  // namespace rondo::launcher
