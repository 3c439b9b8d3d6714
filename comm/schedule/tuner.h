/// Which algorithm carries out a call: by the user's rules first, else by what was measured to be best. Pure: equal on
/// all ranks because its input is. Any thread.
///
/// Without rules all choices are among algorithms of one order of summation (canonical), so neither the size of a
/// buffer nor the transport decides the bits; from 17 ranks on messages the ring, whose order is its own, takes over,
/// because a full mesh of links no longer pays. Over several hosts that hold equal blocks of ranks, all-reduce is
/// hierarchical: canonical where the blocks are of 2^k ranks, else in an order of its own, then for every size.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "comm/schedule/hosts.h"
#include "rondo/comm/schedule.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// What the choice depends on.
struct CallShape {
  Goal goal = Goal::kAllReduce;
  int world_size = 1;
  size_t byte_count = 0;
  Wire wire = Wire::kSame;
  HostLayout hosts = HostLayout::kFlat;
};

class Tuner {
 public:
  /// Rules as users write them: "ring", "ring:1M-", "one-shot:-4K,ring:64K-1M". A range counts bytes of the buffer,
  /// upper end excluded; K, M and G are powers of 1024. The first rule whose algorithm serves the goal and whose range
  /// holds the size wins. kInvalidArgument names the rule and what is wrong with it.
  static Result<Tuner> parse(const std::string& rules);

  /// What a rule says; empty when none applies.
  std::string_view ruled(const CallShape& call) const;
  /// Over messages: what a rule says, else the default.
  std::string_view choose(const CallShape& call) const;
  /// Every choice with its reason, a line each, for people.
  std::string explain(int world_size, HostLayout hosts = HostLayout::kFlat) const;

 private:
  struct Rule {
    std::string algorithm;
    size_t from = 0;
    size_t to = ~size_t{0};
    std::string text;
  };
  std::vector<Rule> rules_;
};

}  // namespace rondo::comm
