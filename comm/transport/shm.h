/// The transport of ranks that share memory: regions, signals and flag lines by shared memory; messages (for schedules
/// that need them) by another transport underneath.
///
/// Each rank makes the memory it writes and posts it to its peers (region_post.h); nothing has a name, so nothing can
/// be left behind. The board of a peer is mapped when it has arrived, before the first collective.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/transport/board.h"
#include "comm/transport/region_post.h"
#include "comm/transport/transport.h"

namespace rondo::comm {

struct ShmTransportOptions {
  std::shared_ptr<JobPage> page;
  std::shared_ptr<RegionPost> post;
  uint64_t group = 0;
  std::vector<int> job_ranks;          // group rank -> rank in the job
  std::vector<std::string> mailboxes;  // of each group rank
  int rank = 0;
  std::unique_ptr<Transport> messages;
};
/// Allocates this rank's board and posts it. kResource when memory is short.
Result<std::unique_ptr<Transport>> make_shm_transport(ShmTransportOptions options);

}  // namespace rondo::comm
