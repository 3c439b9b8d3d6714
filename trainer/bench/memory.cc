#include "trainer/bench/memory.h"

#include <fstream>
#include <sstream>
#include <string>

namespace rondo::trainer {
namespace {

/// The number behind `name` in a file of "Name:  123 kB" lines, in bytes.
int64_t kilobytes_of(const char* file, const std::string& name) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(name)) continue;
    std::istringstream rest(line.substr(name.size()));
    int64_t kilobytes = 0;
    rest >> kilobytes;
    return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

ProcessMemory read_process_memory() {
  return {.peak_rss_bytes = kilobytes_of("/proc/self/status", "VmHWM:"),
          .pss_bytes = kilobytes_of("/proc/self/smaps_rollup", "Pss:")};
}

}  // namespace rondo::trainer
