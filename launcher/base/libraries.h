/// The libraries this program was built with, and what the processor offers. For `rondo version --json` and `doctor`.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

struct Library {
  std::string name, version;
};
std::vector<Library> libraries();

/// Of those that the kernels and LibTorch look for: "avx2", "avx512f", ...
std::vector<std::string> cpu_features();

}  // namespace rondo::launcher
