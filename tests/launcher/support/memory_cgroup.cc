#include "tests/launcher/support/memory_cgroup.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <sstream>

namespace rondo::test {
namespace {

namespace fs = std::filesystem;

struct Version {
  const char *root, *limit, *counter, *swap;
};
constexpr std::array kVersions{
    Version{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control", "memory.memsw.limit_in_bytes"},
    Version{"/sys/fs/cgroup", "memory.max", "memory.events", "memory.swap.max"}};

bool write(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

bool counts_kills(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str().find("oom_kill ") != std::string::npos;
}

}  // namespace

std::optional<MemoryCgroup> MemoryCgroup::make(uint64_t limit_bytes) {
  static std::atomic<int> made{0};
  const std::string name = "rondo-test-" + std::to_string(::getpid()) + "-" + std::to_string(made++);
  for (const Version& version : kVersions) {
    std::error_code error;
    const fs::path folder = fs::path(version.root) / name;
    if (!fs::exists(fs::path(version.root) / "cgroup.procs", error) || !fs::create_directory(folder, error)) continue;
    MemoryCgroup group(folder);  // removes it again
    if (!write(folder / version.limit, std::to_string(limit_bytes)) || !counts_kills(folder / version.counter))
      continue;
    write(folder / version.swap,
          version.root == kVersions[1].root ? "0" : std::to_string(limit_bytes));  // if it has it
    return group;
  }
  return std::nullopt;
}

MemoryCgroup::~MemoryCgroup() {
  if (!folder_.empty()) ::rmdir(folder_.c_str());
}

}  // namespace rondo::test
