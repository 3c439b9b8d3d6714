/// Counts what this process has open, to show that nothing leaks.
#pragma once

#include <cstddef>
#include <filesystem>

namespace rondo::test {

inline size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

}  // namespace rondo::test
