/// The GPUs that programs started here would see. Rondo itself trains on the CPU; programs under `rondo run` may not.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

/// How many of `devices` (the names in /dev) are NVIDIA GPUs, or as many as `visible` (CUDA_VISIBLE_DEVICES; null: not
/// set) leaves of them. A pure function.
int count_gpus(const std::vector<std::string>& devices, const char* visible);

/// count_gpus() of this host.
int count_gpus();

}  // namespace rondo::launcher
