#include "launcher/agent/error_file.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace rondo::launcher {

std::optional<FailureReport> read_error_file(const std::string& path, int culprit) {
  constexpr std::streamsize kMostBytes = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text(static_cast<size_t>(kMostBytes), '\0');
  if (!file) return std::nullopt;
  file.read(text.data(), kMostBytes);
  text.resize(static_cast<size_t>(file.gcount()));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("message")) return std::nullopt;
  const nlohmann::json* message = &json["message"];
  if (message->is_object() && message->contains("message")) message = &(*message)["message"];
  if (!message->is_string()) return std::nullopt;
  return FailureReport{.culprit = culprit, .code = "exception", .text = message->get<std::string>()};
}

}  // namespace rondo::launcher
