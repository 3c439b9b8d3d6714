/// One core a rank: which, and how. Every contender of a run gets the same.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rondo/comm/status.h"

namespace rondo::bench {

/// A processor of this host and the physical core that it is a thread of.
struct Processor {
  int cpu = 0;
  int core = 0;  // the lowest cpu of the same core
};

/// The processors that this process may run on, as the kernel describes them.
std::vector<Processor> usable_processors();

/// In which order ranks take processors: one of every core first, the cores' other threads after that. Local rank r
/// runs on number r modulo the count. Pure.
std::vector<int> pinning_order(std::span<const Processor> processors);

/// "0,1" as numbers; kInvalidArgument names what is no list of cpus.
comm::Result<std::vector<int>> parse_cpus(const std::string& text);
std::string cpus_text(std::span<const int> cpus);

/// The cpu of this host's rank `local_rank`: of those that `cpus` names, else of those that this process may run on.
comm::Result<int> choose_cpu(const std::string& cpus, int local_rank);

/// Binds the calling thread, and the threads that it starts afterwards, to `cpu`.
comm::Status pin_to(int cpu);

}  // namespace rondo::bench
