// One-shot all-reduce: every rank sends everything to all and sums everything itself, all in the same order.
//
// Worked example: four ranks, a buffer of one segment; x2 is rank 2's.
//
//           rank 0                     rank 1         rank 2         rank 3
//   hop 0   sends x0 to 1, 2, 3        sends x1       sends x2       sends x3
//           x = (x0+x1) + (x2+x3)      the same x     the same x     the same x
//
// The own operand is sent from a copy, because the sum is stored over it while it may still be under way. A copy of
// segment g is free again when segment g + 2 of every peer has arrived: each was sent after its rank had taken g - 2.
// With a narrow wire the copy is rounded, and so is the sum, as if it had been sent.
//
// Cost: one hop, the least; (n-1) times the bytes sent and added by each rank. For the smallest buffers only.
#include "comm/schedule/makers.h"
#include "comm/schedule/pipeline.h"
#include "comm/schedule/ring.h"
#include "comm/schedule/split.h"
#include "comm/schedule/writer.h"

namespace rondo::comm {
namespace {

constexpr int64_t kCopies = 2 * kSegmentsAhead;

class OneShot {
 public:
  OneShot(const ScheduleRequest& request, const Writer::Title& title)
      : writer_(request, title),
        n_(request.at.world_size),
        self_(request.at.rank),
        whole_{0, request.element_count},
        narrow_(request.wire == Wire::kNarrow) {}

  Schedule make() {
    writer_.talks_to_all();
    for (int64_t g = 0; g < kSegmentsAhead; ++g) send(g);
    const int64_t segments = segment_count(whole_.count(), 1, writer_.segment_elements());
    for (int64_t g = 0; g < segments; ++g) {
      take(g);
      sum(g);
      send(g + kSegmentsAhead);
    }
    return writer_.take();
  }

 private:
  Range range(int64_t g) const { return segment_of(whole_, g, writer_.segment_elements()); }
  int peer(int step) const { return ring::wrap(self_ + step, n_); }

  // Buffers: one operand a peer, then the copies of what is sent, then one for the rounded sum.
  Place operand(int rank, int64_t g) {
    const int64_t index = rank == self_ ? n_ - 1 + g % kCopies : rank > self_ ? rank - 1 : rank;
    return writer_.landing({.index = index, .count = range(g).count()});
  }
  Place rounded_sum(int64_t g) { return writer_.wire({.index = n_ - 1 + kCopies, .count = range(g).count()}); }

  void send(int64_t g) {
    if (range(g).count() == 0) return;
    writer_.copy({.segment = g}, writer_.data(range(g)), operand(self_, g));
    for (int step = 1; step < n_; ++step) writer_.send({.segment = g}, peer(step), operand(self_, g));
  }

  void take(int64_t g) {
    for (int step = 1; step < n_; ++step) writer_.receive({.segment = g}, peer(-step), operand(peer(-step), g));
  }

  void sum(int64_t g) {
    const Place data = writer_.data(range(g));
    std::vector<Place> operands;
    for (int rank = 0; rank < n_; ++rank) operands.push_back(operand(rank, g));
    writer_.reduce({.segment = g}, operands, {narrow_ ? rounded_sum(g) : data}, Finality::kFinal);
    if (narrow_) writer_.copy({.segment = g}, rounded_sum(g), data);
  }

  Writer writer_;
  const int n_;
  const int self_;
  const Range whole_;
  const bool narrow_;
};

}  // namespace

Schedule one_shot_all_reduce(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const Writer::Title title{.goal = Goal::kAllReduce,
                            .algorithm = "one-shot",
                            .order = Order::kCanonical,
                            .hop_count = n == 1 ? 0 : 1,
                            .segment_elements = usable_segment({.longest = request.element_count,
                                                                .segment_elements = request.segment_elements,
                                                                .most_elements = request.most_message_elements,
                                                                .actions_per_segment = int64_t{2} * n + 1})};
  return n == 1 ? alone(request, title) : OneShot(request, title).make();
}

}  // namespace rondo::comm
