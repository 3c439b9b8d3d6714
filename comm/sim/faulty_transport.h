/// A transport that passes everything on to another one, later, not at all, or wrong, as an injector says.
///
/// Works over any transport, with threads as well as with cursors in one thread. What it delays stays in order, so the
/// contract of Transport holds for all faults but those that are there to break it (kFlipAbove, kLose, kRepeat).
/// A killed rank moves nothing any more and says nothing, not even goodbye; its group only looks stuck from within, so
/// whoever plays the kernel stops asking it. Threading: as the transport below.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/sim/injector.h"
#include "comm/transport/transport.h"

namespace rondo::comm {

struct FaultyTransportOptions {
  std::shared_ptr<Injector> injector;      // shared by all ranks
  std::shared_ptr<Trace> trace = nullptr;  // of a simulated world; null with threads
  uint64_t group = 0;
  std::vector<int> job_ranks;  // group rank -> rank in the job
  int rank = 0;                // in the group
};
std::unique_ptr<Transport> make_faulty_transport(std::unique_ptr<Transport> below, FaultyTransportOptions options);

}  // namespace rondo::comm
