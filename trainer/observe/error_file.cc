#include "trainer/observe/error_file.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace rondo::trainer {

std::string error_file_text(const WorkerFailure& failure, int own_rank, std::chrono::system_clock::time_point now) {
  const bool victim = failure.culprit_rank != own_rank;
  const auto second =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count() + (victim ? 1 : 0);
  const nlohmann::json message{{"message", failure.text},
                               {"extraInfo", {{"py_callstack", failure.text}, {"timestamp", std::to_string(second)}}}};
  return nlohmann::json{{"message", message}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void write_error_file(const std::string& path, const WorkerFailure& failure, int own_rank) noexcept {
  if (path.empty()) return;
  try {
    std::ofstream(path, std::ios::binary) << error_file_text(failure, own_rank, std::chrono::system_clock::now());
  } catch (...) {  // memory, at the end of the process
  }
}

}  // namespace rondo::trainer
