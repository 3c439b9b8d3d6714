/// Which rank of how many: one struct, so that the two numbers cannot be swapped. Any thread.
#pragma once

namespace rondo::comm {

/// A rank among `world_size` ranks.
struct Position {
  int rank = 0;
  int world_size = 1;
  bool operator==(const Position&) const = default;
};

}  // namespace rondo::comm
