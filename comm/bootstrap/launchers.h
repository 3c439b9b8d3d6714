/// Who placed this process, when it was neither Rondo nor torchrun: Slurm, Open MPI, MPICH and its kin, Horovod.
#pragma once

#include <string>
#include <vector>

#include "rondo/comm/bootstrap.h"

namespace rondo::comm {

/// What one launcher's variables say.
struct Placement {
  Source source = Source::kSingle;
  Position at;
  int local_rank = 0;
  int local_world_size = 1;
  std::string rank_variable, size_variable;  // that said so
  std::string job;                           // differs between jobs at once on a host; empty: they do not say
  std::string address;                       // of rank 0's host; empty: they do not say
  int64_t port = 0;                          // there
  uint32_t restarts = 0;
  int pmi_descriptor = -1;

  /// "SLURM_PROCID is 1 of SLURM_NTASKS 2".
  std::string describe() const;
};

/// All launchers that left their variables, the one to follow first. Where one started the other (an mpirun in a Slurm
/// job), only the inner one is there. Errors name the variable.
Result<std::vector<Placement>> read_placements(const Environment& environment);

/// kInvalidArgument that names both sides, if a launcher of several ranks places this process elsewhere than `chosen`.
/// A launcher of one rank says nothing: it started a shell, or another launcher.
Status check_agreement(const Placement& chosen, const std::vector<Placement>& placements);

/// Inside a Slurm allocation for several tasks, but not started by srun: what to tell the user, else empty.
std::string outside_of_srun(const Environment& environment);

/// Takes the place that `placement` gives, and the meeting point that it or MASTER_ADDR and MASTER_PORT give. Ranks
/// that an MPI's launcher put on several hosts meet by MPI, unless point and secret are known; so do all whose links go
/// by it.
Status follow(const Placement& placement, const Environment& environment, Bootstrap& result);

}  // namespace rondo::comm
