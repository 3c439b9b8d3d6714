#include "trainer/init/exception_text.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>
#include <typeinfo>

namespace rondo::trainer {
namespace {

constexpr size_t kMostBytes = 500;  // an abort reason holds 900

std::string readable(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  return status == 0 ? name.get() : mangled;
}

/// LibTorch's errors carry a stack trace in further lines.
std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

}  // namespace

std::optional<std::string> current_exception_text() {
  const std::exception_ptr exception = std::current_exception();
  if (!exception) return std::nullopt;
  const std::type_info* const type = abi::__cxa_current_exception_type();
  std::string text = type != nullptr ? readable(type->name()) : "an exception from another language";
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    text += ": " + std::string(first_line(error.what()));
  } catch (...) {
  }
  return text.substr(0, kMostBytes);
}

}  // namespace rondo::trainer
