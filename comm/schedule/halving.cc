// Recursive halving and doubling: all-reduce in 2 log2(n) hops (Rabenseifner).
//
// Worked example: four ranks, a block of parts A B C D; "A01" = A0 + A1.
//
//           rank 0                 rank 1                 rank 2                 rank 3
//   hop 0   C0 D0 -> 1             A1 B1 -> 0             C2 D2 -> 3             A3 B3 -> 2       pairs at distance 1
//           A01 B01                C01 D01                A23 B23                C23 D23
//   hop 1   B01 -> 2               D01 -> 3               A23 -> 0               C23 -> 1         pairs at distance 2
//           A = A01 + A23          C = C01 + C23          B = B01 + B23          D = D01 + D23    <- divided
//   hop 2   A -> 2, gets B         C -> 3, gets D         B -> 0, gets A         D -> 1, gets C
//   hop 3   A B -> 1, gets C D     C D -> 0, gets A B     A B -> 3, gets C D     C D -> 2, gets A B
//
// The lower rank's sum is always the left operand and distances grow, so 2^k ranks sum in canonical order. Of any other
// number the first n - 2^k pairs of neighbours are folded into one first: the odd rank gives its block to the even one,
// sits out, and gets the result at the end. Many of these layouts are canonical all the same.
//
// Cost: 2 log2(n) messages a block and 2(n-1)/n of the bytes sent by each rank; folded ranks add 2 hops and their
// bytes. Blocks walk in lanes, see Note [Why lanes].
#include <bit>
#include <utility>

#include "comm/schedule/lanes.h"
#include "comm/schedule/makers.h"
#include "comm/schedule/orders.h"
#include "comm/schedule/split.h"

namespace rondo::comm {
namespace {

class Halving {
 public:
  Halving(const ScheduleRequest& request, const Writer::Title& title)
      : writer_(request, title),
        whole_{0, request.element_count},
        fold_(fold_of(request.at.world_size)),
        levels_(std::countr_zero(static_cast<unsigned>(fold_.groups))),
        hops_(title.hop_count) {
    const int rank = request.at.rank;
    const bool is_paired = rank < 2 * fold_.pairs;
    sits_out_ = is_paired && rank % 2 == 1;
    partner_ = is_paired ? rank ^ 1 : -1;
    group_ = is_paired ? rank / 2 : rank - fold_.pairs;
  }

  Schedule make() {
    if (partner_ >= 0) writer_.talks_to(partner_);
    for (int level = 0; !sits_out_ && level < levels_; ++level) writer_.talks_to(opposite(level));
    const LaneWalk walk{.slots = writer_.schedule().slots,
                        .segments = segment_count(whole_.count(), 1, writer_.segment_elements()),
                        .hops = hops_};
    walk_in_lanes(
        walk, [&](Spot spot) { receive(spot); }, [&](Spot spot) { send(spot); });
    return writer_.take();
  }

 private:
  enum class Phase { kFold, kHalve, kDouble, kUnfold };
  struct Step {
    Phase phase;
    int level;  // of halving and doubling: the distance is 2^level groups
  };
  Step step_of(int hop) const {
    if (fold_.pairs > 0 && hop-- == 0) return {Phase::kFold, 0};
    if (hop < levels_) return {Phase::kHalve, hop};
    if (hop < 2 * levels_) return {Phase::kDouble, 2 * levels_ - 1 - hop};
    return {Phase::kUnfold, 0};
  }

  int rank_of(int group) const { return group < fold_.pairs ? 2 * group : group + fold_.pairs; }
  int opposite(int level) const { return rank_of(group_ ^ 1 << level); }
  bool is_lower(int level) const { return (group_ >> level & 1) == 0; }

  Range block(Spot spot) const { return segment_of(whole_, spot.segment, writer_.segment_elements()); }
  // What this group keeps of a block after halving `levels` times.
  Range kept(Spot spot, int levels) const {
    Range range = block(spot);
    for (int level = 0; level < levels; ++level) range = part_of(range, 2, is_lower(level) ? 0 : 1);
    return range;
  }
  // What it gives away at `level`.
  Range given(Spot spot, int level) const { return part_of(kept(spot, level), 2, is_lower(level) ? 1 : 0); }

  void send(Spot spot) {
    const auto [phase, level] = step_of(spot.hop);
    if (phase == Phase::kFold || phase == Phase::kUnfold) {
      const bool sends = partner_ >= 0 && sits_out_ == (phase == Phase::kFold);
      if (sends) writer_.send(spot, partner_, writer_.data(block(spot)));
      return;
    }
    if (sits_out_) return;
    const Range range = phase == Phase::kHalve ? given(spot, level) : kept(spot, level + 1);
    writer_.send(spot, opposite(level), writer_.data(range));
  }

  void receive(Spot spot) {
    const auto [phase, level] = step_of(spot.hop);
    switch (phase) {
      case Phase::kFold:
        if (partner_ >= 0 && !sits_out_) add(spot, {.peer = partner_, .range = block(spot)}, Finality::kPartial);
        return;
      case Phase::kHalve:
        if (sits_out_) return;
        return add(spot, {.peer = opposite(level), .range = kept(spot, level + 1)},
                   level + 1 == levels_ ? Finality::kFinal : Finality::kPartial);
      case Phase::kDouble:
        if (!sits_out_) writer_.receive(spot, opposite(level), writer_.data(given(spot, level)));
        return;
      case Phase::kUnfold:
        if (sits_out_) writer_.receive(spot, partner_, writer_.data(block(spot)));
        return;
    }
  }

  struct Operand {
    int peer = 0;
    Range range;
  };
  void add(Spot spot, const Operand& operand, Finality finality) {
    const Place own = writer_.data(operand.range);
    const Place other = writer_.scratch({.index = 0, .count = operand.range.count()});
    writer_.receive(spot, operand.peer, other);
    const bool own_first = writer_.rank() < operand.peer;
    writer_.reduce(spot, {own_first ? own : other, own_first ? other : own}, {own}, finality);
  }

  Writer writer_;
  const Range whole_;
  const Fold fold_;
  const int levels_;
  const int hops_;
  bool sits_out_ = false;
  int partner_ = -1;  // in a folded pair
  int group_ = 0;
};

}  // namespace

Schedule halving_all_reduce(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const Fold fold = fold_of(n);
  const int hops = 2 * std::countr_zero(static_cast<unsigned>(fold.groups)) + (fold.pairs > 0 ? 2 : 0);
  // A message is at most half a block, where nobody hands over a whole one.
  const int64_t segments_per_block = fold.pairs > 0 ? 1 : 2;
  const Writer::Title title{
      .goal = Goal::kAllReduce,
      .algorithm = "halving",
      .order = canonical_or(Order::kFolded, {}, n),
      .hop_count = hops,
      .segment_elements = usable_segment({.longest = request.element_count,
                                          .segment_elements = request.segment_elements * segments_per_block,
                                          .most_elements = request.most_message_elements * segments_per_block,
                                          .actions_per_segment = int64_t{3} * hops})};
  return n == 1 ? alone(request, title) : Halving(request, title).make();
}

}  // namespace rondo::comm
