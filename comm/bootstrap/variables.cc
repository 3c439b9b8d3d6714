#include "comm/bootstrap/variables.h"

#include <charconv>

namespace rondo::comm {
namespace {

Status wrong(std::string message) { return {Code::kInvalidArgument, std::move(message), {.operation = "bootstrap"}}; }

}  // namespace

Status bad_variable(const std::string& name, const std::string& value, const std::string& expected) {
  return wrong(name + " is '" + value + "'; expected " + expected);
}

std::string read_text(const Environment& environment, const std::string& name) {
  return environment(name).value_or("");
}

Result<std::optional<int64_t>> read_number(const Environment& environment, const std::string& name, Range range) {
  const std::string text = read_text(environment, name);
  if (text.empty()) return std::optional<int64_t>();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < range.least || number > range.most)
    return bad_variable(name, text,
                        "a whole number from " + std::to_string(range.least) + " to " + std::to_string(range.most));
  return std::optional(number);
}

Result<int64_t> need_number(const Environment& environment, const std::string& name, Range range,
                            const std::string& needed_because) {
  const auto number = read_number(environment, name, range);
  RONDO_TRY(number);
  if (!number->has_value())
    return wrong(name + " is not set; expected a whole number from " + std::to_string(range.least) + " to " +
                 std::to_string(range.most) + ", because " + needed_because);
  return **number;
}

}  // namespace rondo::comm
