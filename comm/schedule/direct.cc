// Direct: every rank exchanges messages with every other. All-reduce (two-shot), reduce-scatter, all-gather, broadcast.
//
// Worked example: four ranks, chunks A B C D; rank r owns the r-th. A1 is rank 1's version of A.
//
//           rank 0                     rank 1                     rank 2             rank 3
//   hop 0   sends B0 C0 D0 to owners   sends C1 D1 A1             sends D2 A2 B2     sends A3 B3 C3
//           A = (A0+A1) + (A2+A3)      B = (B0+B1) + (B2+B3)      C = ...            D = ...        <- and divided
//   hop 1   sends A to 1, 2, 3         sends B to 2, 3, 0         sends C            sends D
//
// Reduce-scatter is hop 0 alone, with the sum in result memory; all-gather is hop 1 alone; broadcast is hop 1 of a root
// that owns everything. Segment g + 2 is sent before g + 1 is taken, see Note [Why pipelines cannot deadlock]: in the
// common order of stages "take g, take the results g - 1, sum g, send the results g, send g + 2".
//
// With a narrow wire operands are rounded into wire memory and sent from there. The copy of segment g is free again
// when segment g + 2 of that peer has arrived, for the peer sent it after it had taken g - 2: so 4 copies a peer. The
// sum of segment g goes to all from one of 3 buffers: a peer's segment g + 3 was sent after it had taken the sum.
//
// Cost: 2 hops; 2(n-1) messages a segment and 2(n-1)/n of the bytes sent by each rank, as few as the ring's; (n-1)/n of
// the elements added by each. Needs a link between every pair.
#include "comm/schedule/makers.h"
#include "comm/schedule/pipeline.h"
#include "comm/schedule/ring.h"
#include "comm/schedule/split.h"
#include "comm/schedule/writer.h"

namespace rondo::comm {
namespace {

constexpr int kToOwner = 0;
constexpr int kFromOwner = 1;
constexpr int64_t kCopies = 2 * kSegmentsAhead;
constexpr int64_t kSums = kSegmentsAhead + 1;

/// All-reduce and reduce-scatter.
class Reduction {
 public:
  Reduction(const ScheduleRequest& request, const Writer::Title& title)
      : writer_(request, title),
        n_(request.at.world_size),
        self_(request.at.rank),
        element_count_(request.element_count),
        segments_(segment_count(element_count_, n_, title.segment_elements)),
        narrow_(request.wire == Wire::kNarrow),
        gives_to_all_(title.goal == Goal::kAllReduce) {}

  Schedule make() {
    writer_.talks_to_all();
    for (int64_t g = 0; g < kSegmentsAhead; ++g) send_to_owners(g);
    for (int64_t g = 0; g < segments_; ++g) {
      take_operands(g);
      if (gives_to_all_) take_results(g - 1);
      sum(g);
      if (gives_to_all_) send_result(g);
      send_to_owners(g + kSegmentsAhead);
    }
    if (gives_to_all_) take_results(segments_ - 1);
    return writer_.take();
  }

 private:
  Range range(int owner, int64_t g) const {
    if (g < 0) return {};
    return segment_of(chunk_of(element_count_, n_, owner), g, writer_.segment_elements());
  }
  int peer(int step) const { return ring::wrap(self_ + step, n_); }

  // Buffers: one operand a rank, the own one only with a narrow wire; then also the copies of what is sent, the sums,
  // and one for arriving results.
  Place operand(int rank, int64_t count) {
    const int index = !narrow_ && rank > self_ ? rank - 1 : rank;
    return writer_.landing({.index = index, .count = count});
  }
  Place copy_of(int owner, int64_t g) {
    return writer_.wire({.index = n_ + owner * kCopies + g % kCopies, .count = range(owner, g).count()});
  }
  Place sum_of(int64_t g) {
    return writer_.wire({.index = n_ + n_ * kCopies + g % kSums, .count = range(self_, g).count()});
  }
  Place arriving(int64_t count) { return writer_.wire({.index = n_ + n_ * kCopies + kSums, .count = count}); }

  void send_to_owners(int64_t g) {
    const Spot spot{.hop = kToOwner, .segment = g};
    for (int step = 1; step < n_; ++step) {
      const Range sent = range(peer(step), g);
      if (sent.count() == 0) continue;
      if (narrow_) writer_.copy(spot, writer_.data(sent), copy_of(peer(step), g));
      writer_.send(spot, peer(step), narrow_ ? copy_of(peer(step), g) : writer_.data(sent));
    }
  }

  void take_operands(int64_t g) {
    const int64_t count = range(self_, g).count();
    if (count == 0) return;
    for (int step = 1; step < n_; ++step) {
      writer_.receive({.hop = kToOwner, .segment = g}, peer(-step), operand(peer(-step), count));
    }
  }

  void sum(int64_t g) {
    const Range range = this->range(self_, g);
    if (range.count() == 0) return;
    const Spot spot{.hop = kToOwner, .segment = g};
    const Place own = writer_.data(range);
    const Place home = gives_to_all_ ? own : writer_.result(range);
    if (narrow_) writer_.copy(spot, own, operand(self_, range.count()));
    std::vector<Place> operands;
    for (int rank = 0; rank < n_; ++rank) {
      operands.push_back(rank == self_ && !narrow_ ? own : operand(rank, range.count()));
    }
    writer_.reduce(spot, operands, {narrow_ ? sum_of(g) : home}, Finality::kFinal);
    if (narrow_) writer_.copy(spot, sum_of(g), home);
  }

  void send_result(int64_t g) {
    const Range range = this->range(self_, g);
    if (range.count() == 0) return;
    for (int step = 1; step < n_; ++step) {
      writer_.send({.hop = kFromOwner, .segment = g}, peer(step), narrow_ ? sum_of(g) : writer_.data(range));
    }
  }

  void take_results(int64_t g) {
    const Spot spot{.hop = kFromOwner, .segment = g};
    for (int step = 1; step < n_; ++step) {
      const Range range = this->range(peer(-step), g);
      if (range.count() == 0) continue;
      writer_.receive(spot, peer(-step), narrow_ ? arriving(range.count()) : writer_.data(range));
      if (narrow_) writer_.copy(spot, arriving(range.count()), writer_.data(range));
    }
  }

  Writer writer_;
  const int n_;
  const int self_;
  const int64_t element_count_;
  const int64_t segments_;
  const bool narrow_;
  const bool gives_to_all_;
};

Writer::Title title_of(const ScheduleRequest& request, Goal goal, const Cut& cut) {
  const bool sums = goal == Goal::kAllReduce || goal == Goal::kReduceScatter;
  return {.goal = goal,
          .algorithm = "direct",
          .order = sums ? Order::kCanonical : Order::kNone,
          .hop_count = request.at.world_size == 1 ? 0
                       : goal == Goal::kAllReduce ? 2
                                                  : 1,
          .segment_elements = usable_segment(cut)};
}

Schedule make_reduction(const ScheduleRequest& request, Goal goal) {
  const int n = request.at.world_size;
  const auto title = title_of(request, goal,
                              {.longest = chunk_of(request.element_count, n, 0).count(),
                               .segment_elements = request.segment_elements,
                               .most_elements = request.most_message_elements,
                               .actions_per_segment = int64_t{6} * n});
  return n == 1 ? alone(request, title) : Reduction(request, title).make();
}

}  // namespace

Schedule direct_all_reduce(const ScheduleRequest& request) { return make_reduction(request, Goal::kAllReduce); }

Schedule direct_reduce_scatter(const ScheduleRequest& request) { return make_reduction(request, Goal::kReduceScatter); }

Schedule direct_all_gather(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const auto title = title_of(request, Goal::kAllGather,
                              {.longest = chunk_of(request.element_count, n, 0).count(),
                               .segment_elements = request.segment_elements,
                               .most_elements = request.most_message_elements,
                               .actions_per_segment = int64_t{2} * n});
  if (n == 1) return alone(request, title);
  Writer writer(request, title);
  writer.talks_to_all();
  const auto place = [&](int owner, int64_t g) {
    return writer.data(segment_of(chunk_of(request.element_count, n, owner), g, title.segment_elements));
  };
  const auto peer = [&](int step) { return ring::wrap(writer.rank() + step, n); };
  const auto send = [&](int64_t g) {
    for (int step = 1; step < n; ++step) writer.send({.segment = g}, peer(step), place(writer.rank(), g));
  };
  const int64_t segments = segment_count(request.element_count, n, title.segment_elements);
  for (int64_t g = 0; g < kSegmentsAhead; ++g) send(g);
  for (int64_t g = 0; g < segments; ++g) {
    for (int step = 1; step < n; ++step) writer.receive({.segment = g}, peer(-step), place(peer(-step), g));
    send(g + kSegmentsAhead);
  }
  return writer.take();
}

Schedule direct_broadcast(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const auto title = title_of(request, Goal::kBroadcast,
                              {.longest = request.element_count,
                               .segment_elements = request.segment_elements,
                               .most_elements = request.most_message_elements,
                               .actions_per_segment = n});
  if (n == 1) return alone(request, title);
  Writer writer(request, title);
  const bool is_root = writer.rank() == request.root;
  if (!is_root) writer.receives_from(request.root);
  for (int step = 1; is_root && step < n; ++step) writer.sends_to(ring::wrap(request.root + step, n));
  for (int64_t g = 0; g < segment_count(request.element_count, 1, title.segment_elements); ++g) {
    const Place place = writer.data(segment_of({0, request.element_count}, g, title.segment_elements));
    if (!is_root) writer.receive({.segment = g}, request.root, place);
    for (int step = 1; is_root && step < n; ++step) {
      writer.send({.segment = g}, ring::wrap(request.root + step, n), place);
    }
  }
  return writer.take();
}

}  // namespace rondo::comm
