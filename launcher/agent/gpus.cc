#include "launcher/agent/gpus.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace rondo::launcher {

int count_gpus(const std::vector<std::string>& devices, const char* visible) {
  constexpr std::string_view kPrefix = "nvidia";
  const auto count = std::ranges::count_if(devices, [&](const std::string& name) {
    return name.starts_with(kPrefix) && name.size() > kPrefix.size() &&
           name.find_first_not_of("0123456789", kPrefix.size()) == std::string::npos;
  });
  if (visible == nullptr) return static_cast<int>(count);
  int64_t left = 0;
  std::istringstream list(visible);
  for (std::string word; std::getline(list, word, ',') && word != "-1";)
    ++left;  // CUDA stops at the first that is none
  return static_cast<int>(std::min<int64_t>(left, count));
}

int count_gpus() {
  std::vector<std::string> devices;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", error))
    devices.push_back(entry.path().filename().string());
  return count_gpus(devices, std::getenv("CUDA_VISIBLE_DEVICES"));
}

}  // namespace rondo::launcher
