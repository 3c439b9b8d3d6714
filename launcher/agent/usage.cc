#include "launcher/agent/usage.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>
#include <string>

namespace rondo::launcher {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

std::optional<UsageSample> read_usage(const UsageFiles& files) {
  const size_t name_end = files.stat.rfind(')');  // the name may hold anything
  if (name_end == std::string_view::npos || files.ticks_per_second <= 0) return std::nullopt;
  std::istringstream stat{std::string(files.stat.substr(name_end + 1))}, statm{std::string(files.statm)};
  UsageSample sample;
  constexpr int kFromStateToUserTime = 10;  // fields 4 to 13
  std::string skipped;
  stat >> sample.state;
  for (int i = 0; i < kFromStateToUserTime; ++i) stat >> skipped;
  int64_t user = 0, system = 0;
  uint64_t size_pages = 0, resident_pages = 0;
  if (!(stat >> user >> system) || !(statm >> size_pages >> resident_pages)) return std::nullopt;
  sample.cpu_time = std::chrono::nanoseconds((user + system) * (1'000'000'000 / files.ticks_per_second));
  sample.resident_bytes = resident_pages * static_cast<uint64_t>(files.page_bytes);
  return sample;
}

std::optional<UsageSample> sample_usage(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  const std::string stat = first_line(folder + "/stat"), statm = first_line(folder + "/statm");
  return read_usage({.stat = stat,
                     .statm = statm,
                     .ticks_per_second = ::sysconf(_SC_CLK_TCK),
                     .page_bytes = ::sysconf(_SC_PAGESIZE)});
}

double cpu_percent(std::chrono::nanoseconds used, comm::Duration within) {
  const auto whole = std::chrono::duration<double>(within).count();
  return whole > 0 ? 100 * std::chrono::duration<double>(used).count() / whole : 0;
}

}  // namespace rondo::launcher
