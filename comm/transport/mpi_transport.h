/// The transport over the MPI of this process: messages only, point to point, under the same schedules as tcp's.
///
/// A message is cut into frames, each a message of MPI's: the frame header of the wire (wire.h), 16 bytes with the
/// message's length and where this part lies in it, and the part, under the same checksums. All frames of a group have
/// its tag, so that those of a pair come in order. What is sent and what arrives is copied through memory of Mpi: after
/// a failure nothing of the caller's is read or written any more. A frame counts as arrived when its receiver has begun
/// to take it; MPI does the rest.
///
/// A peer's death is not seen here (a receive from a killed process never completes) but by the keepers. Threading: the
/// group's lock; progress is made by looking, no descriptor becomes ready.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/mpi/mpi.h"
#include "comm/transport/transport.h"

namespace rondo::comm {

struct MpiTransportOptions {
  std::shared_ptr<Mpi> mpi;
  uint64_t group = 0;
  uint32_t generation = 0;
  std::vector<int> job_ranks;  // group rank -> rank in the job, which is its rank in MPI
  int rank = 0;                // in the group
};
/// kResource: see Mpi::reserve_tag().
Result<std::unique_ptr<Transport>> make_mpi_transport(MpiTransportOptions options);

}  // namespace rondo::comm
