/// Which algorithm carries out a call: by the user's rules first, else by what was measured to be best. Pure: equal on
/// all ranks because its input is. Any thread.
///
/// Without rules all choices are among algorithms of one order of summation (canonical), so neither the size of a
/// buffer nor the transport decides the bits; from 17 ranks on messages the ring, whose order is its own, takes over,
/// because a full mesh of links no longer pays. Over several hosts that hold equal blocks of ranks, all-reduce is
/// hierarchical: canonical where the blocks are of 2^k ranks, else in an order of its own, then for every size.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/store_kind.h"
#include "comm/schedule/hosts.h"
#include "comm/schedule/measured.h"
#include "rondo/comm/dtype.h"
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
  DType dtype = DType::kFloat32;
};

/// Memory of this rank that peers read, or of peers: where a collective in shared memory stores.
enum class Landing : uint8_t { kStaging, kRegistered };

class Tuner {
 public:
  /// Rules as users write them: "ring", "ring:1M-", "one-shot:-4K,ring:64K-1M". A range counts bytes of the buffer,
  /// upper end excluded; K, M and G are powers of 1024. The first rule whose algorithm serves the goal and whose range
  /// holds the size wins. "plain-stores" and "non-temporal-stores", with or without a range, say how a collective in
  /// shared memory stores. kInvalidArgument names the rule and what is wrong with it.
  static Result<Tuner> parse(const std::string& rules);

  /// From now on the default goes by what was measured, among algorithms whose order on `world_size` ranks is that of
  /// the default without.
  void learn(const Measured& measured, int world_size);

  /// What a rule says; empty when none applies.
  std::string_view ruled(const CallShape& call) const;
  /// Over messages: what a rule says, else the default.
  std::string_view choose(const CallShape& call) const;
  /// How stores into such memory go; of no consequence for bits.
  StoreKind stores(size_t byte_count, Landing landing) const;
  /// Every choice with its reason, a line each, and what was measured; for people.
  std::string explain(int world_size, HostLayout hosts = HostLayout::kFlat) const;
  std::string explain_stores() const;

 private:
  struct Choice {
    std::string_view algorithm;
    std::string_view reason;
  };
  Choice by_default(const CallShape& call) const;
  std::string_view cheapest(const CallShape& call) const;
  std::optional<StoreKind> ruled_stores(size_t byte_count) const;
  /// Of the largest size up to this one, else of the smallest; null when none was timed.
  const StoreTiming* timing_of(size_t byte_count) const;
  std::string reason_of_stores(size_t byte_count, Landing landing) const;

  struct Rule {
    std::string algorithm;  // empty: about stores
    std::optional<StoreKind> stores;
    size_t from = 0;
    size_t to = ~size_t{0};
    std::string text;
  };
  std::vector<Rule> rules_;
  std::optional<Measured> measured_;
  std::vector<std::string_view> equals_;  // algorithms of all_reduce, of one order; names as in algorithms()
};

}  // namespace rondo::comm
