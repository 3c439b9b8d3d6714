// Parameter server: all operands go to rank 0, which sums them and sends the result back. What DataParallel does; here
// to show the gap to the others.
//
// Worked example: four ranks, a buffer of one segment; x2 is rank 2's.
//
//           rank 0                                    rank 1        rank 2        rank 3
//   hop 0   takes x1 x2 x3                            sends x1      sends x2      sends x3
//           x = (x0+x1) + (x2+x3), divided
//   hop 1   sends x to 1, 2, 3                        takes x       takes x       takes x
//
// Workers send two segments ahead, see Note [Why pipelines cannot deadlock]. With a narrow wire a worker's rounded copy
// of segment g is free again when the result of g has come, and the server's result of g when g + 2 of all has.
//
// Cost: 2 hops; rank 0 sends, takes and adds (n-1) times the bytes, the others idle: time grows with n.
#include "comm/schedule/makers.h"
#include "comm/schedule/pipeline.h"
#include "comm/schedule/split.h"
#include "comm/schedule/writer.h"

namespace rondo::comm {
namespace {

constexpr int kServer = 0;
constexpr int kToServer = 0;
constexpr int kFromServer = 1;

class ParameterServer {
 public:
  ParameterServer(const ScheduleRequest& request, const Writer::Title& title)
      : writer_(request, title),
        n_(request.at.world_size),
        whole_{0, request.element_count},
        segments_(segment_count(request.element_count, 1, title.segment_elements)),
        narrow_(request.wire == Wire::kNarrow) {}

  Schedule make() {
    if (whole_.count() == 0) segments_ = 0;
    if (writer_.rank() == kServer) {
      for (int rank = 1; rank < n_; ++rank) writer_.talks_to(rank);
      for (int64_t g = 0; g < segments_; ++g) serve(g);
    } else {
      writer_.talks_to(kServer);
      for (int64_t g = 0; g < kSegmentsAhead; ++g) send(g);
      for (int64_t g = 0; g < segments_; ++g) {
        take(g);
        send(g + kSegmentsAhead);
      }
    }
    return writer_.take();
  }

 private:
  Place data(int64_t g) const { return writer_.data(segment_of(whole_, g, writer_.segment_elements())); }
  // One of the buffers that the copies of outgoing segments take turns at; `first` says where these begin.
  Place outgoing(int64_t first, int64_t g) {
    return writer_.wire({.index = first + g % kSegmentsAhead, .count = data(g).range.count()});
  }

  void serve(int64_t g) {
    const int64_t count = data(g).range.count();
    std::vector<Place> operands;
    for (int rank = 0; rank < n_; ++rank) {
      if (rank == kServer && !narrow_) {
        operands.push_back(data(g));
        continue;
      }
      operands.push_back(writer_.landing({.index = narrow_ ? rank : rank - 1, .count = count}));
      if (rank == kServer) {
        writer_.copy({.hop = kToServer, .segment = g}, data(g), operands.back());
      } else {
        writer_.receive({.hop = kToServer, .segment = g}, rank, operands.back());
      }
    }
    const Place result = narrow_ ? outgoing(n_, g) : data(g);
    writer_.reduce({.hop = kToServer, .segment = g}, operands, {result}, Finality::kFinal);
    for (int rank = 1; rank < n_; ++rank) writer_.send({.hop = kFromServer, .segment = g}, rank, result);
    if (narrow_) writer_.copy({.hop = kFromServer, .segment = g}, result, data(g));
  }

  void send(int64_t g) {
    if (data(g).range.count() == 0) return;
    const Spot spot{.hop = kToServer, .segment = g};
    if (narrow_) writer_.copy(spot, data(g), outgoing(0, g));
    writer_.send(spot, kServer, narrow_ ? outgoing(0, g) : data(g));
  }

  void take(int64_t g) {
    const Spot spot{.hop = kFromServer, .segment = g};
    const Place arriving = narrow_ ? writer_.wire({.index = kSegmentsAhead, .count = data(g).range.count()}) : data(g);
    writer_.receive(spot, kServer, arriving);
    if (narrow_) writer_.copy(spot, arriving, data(g));
  }

  Writer writer_;
  const int n_;
  const Range whole_;
  int64_t segments_;
  const bool narrow_;
};

}  // namespace

Schedule parameter_server_all_reduce(const ScheduleRequest& request) {
  const int n = request.at.world_size;
  const Writer::Title title{.goal = Goal::kAllReduce,
                            .algorithm = "parameter-server",
                            .order = Order::kCanonical,
                            .hop_count = n == 1 ? 0 : 2,
                            .segment_elements = usable_segment({.longest = request.element_count,
                                                                .segment_elements = request.segment_elements,
                                                                .most_elements = request.most_message_elements,
                                                                .actions_per_segment = int64_t{2} * n + 1})};
  return n == 1 ? alone(request, title) : ParameterServer(request, title).make();
}

}  // namespace rondo::comm
