/// Times links and stores before the first group of a job is handed out, so that the tuner goes by this machine.
///
///   rank 0                                    rank 1                     every other rank
///   says what comes next (24 bytes)      ->   does the same
///   both do it, rank 0 looks at the clock
///   ... until it knows enough, or 20 ms have passed
///   puts the table into the store        ->   reads it                   reads it
///
/// Ranks 0 and 1 do this in a group of their own, which leaves nothing in the one that is being made. Over messages:
/// alpha from all-reduces of 8 bytes, beta from large ones, gamma from the kernel alone. In shared memory: the same,
/// and staged all-reduces by plain and by non-temporal stores in turn, the smallest time of each. A table moves no bit
/// of any result: see Tuner::learn.
#pragma once

#include "comm/schedule/measured.h"
#include "rondo/comm/group.h"

namespace rondo::comm {

/// Blocks until this rank has the table. Every rank of the job calls it, on its group of all ranks, after
/// GroupFormation::probes() was true. `key`: where the table is put, the same on all ranks. Errors: kTimeout,
/// kPeerLost, kAborted; those of a store.
Result<Measured> probe_links(Group& world, const std::string& key, Deadline deadline);

}  // namespace rondo::comm
