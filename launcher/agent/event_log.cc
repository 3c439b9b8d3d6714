#include "launcher/agent/event_log.h"

#include <fcntl.h>

#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

namespace rondo::launcher {

comm::Status EventLog::open(const std::string& path) {
  file_ = Descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file_.open()) return system_error("cannot write " + path);
  hold();
  return {};
}

void EventLog::hold() {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  // A file system without locks only costs `rondo explain` its view of the running job.
  [[maybe_unused]] const int locked = ::fcntl(file_.get(), F_SETLK, &whole);
}

void EventLog::write(const char* kind, const nlohmann::json& fields) {
  nlohmann::ordered_json event;
  event["kind"] = kind;
  event["time"] = utc_now();
  event["monotonic_ns"] = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  for (const auto& [name, value] : fields.items()) event[name] = value;
  // A full disk must not end the run; the logs that matter are written by the ranks.
  [[maybe_unused]] const auto written =
      write_all(file_, event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace rondo::launcher
