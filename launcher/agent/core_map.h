/// Which cores each rank gets. A pure function, and the mask it starts from.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

/// The cpus this process may run on, ascending. At least one.
std::vector<int> usable_cpus();

/// What one rank gets.
struct CoreShare {
  std::vector<int> cpus;
  int threads = 1;  // cores / ranks, at least 1: the same on every rank
};

/// Divides `cpus` among `ranks`: contiguous groups whose sizes differ by at most one; with more ranks than cpus, rank r
/// runs on cpu r modulo their number.
std::vector<CoreShare> share_cores(const std::vector<int>& cpus, int ranks);

/// "0,1,5".
std::string cpu_list(const std::vector<int>& cpus);

}  // namespace rondo::launcher
