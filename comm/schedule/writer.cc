#include "comm/schedule/writer.h"

#include <algorithm>
#include <utility>

#include "comm/schedule/ring.h"
#include "comm/schedule/split.h"

namespace rondo::comm {

Writer::Writer(const ScheduleRequest& request, const Title& title)
    : schedule_{.at = request.at,
                .goal = title.goal,
                .algorithm = title.algorithm,
                .order = title.order,
                .wire = request.wire,
                .element_count = request.element_count,
                .hop_count = title.hop_count},
      segment_elements_(title.segment_elements) {
  if (title.goal == Goal::kReduceScatter) {
    schedule_.result_elements = chunk_of(request.element_count, world_size(), rank()).count();
  }
}

// Note [Descriptors go round]
// Ranks that disagree about the call have schedules with different peers: one waits for a descriptor that nobody sends,
// another never reads the one that would tell. So whatever the algorithm, root and size, a rank sends its descriptor to
// the next rank of the ring and takes that of the previous one. Of two neighbours that call something else, at least
// one finds out, and tells all. Schedules in which these two talk anyway pay nothing.
Schedule Writer::take() {
  if (world_size() > 1) {
    sends_to(ring::next(schedule_.at).rank);
    receives_from(ring::previous(schedule_.at).rank);
  }
  for (auto* peers : {&schedule_.sends_to, &schedule_.receives_from}) {
    std::ranges::sort(*peers);
    peers->erase(std::unique(peers->begin(), peers->end()), peers->end());
  }
  return std::exchange(schedule_, {});
}

void Writer::talks_to_all() {
  for (int peer = 0; peer < world_size(); ++peer) {
    if (peer != rank()) talks_to(peer);
  }
}

Place Writer::at(const Memory& memory, Buffer buffer) const {
  const int64_t begin = buffer.index * segment_elements_;
  if (buffer.count > 0) memory.element_count = std::max(memory.element_count, begin + buffer.count);
  return {.rank = rank(), .space = memory.space, .range = {.begin = begin, .end = begin + buffer.count}};
}

Place Writer::result(Range range) const {
  const int64_t first = chunk_of(schedule_.element_count, world_size(), rank()).begin;
  return {.rank = rank(), .space = Space::kResult, .range = {.begin = range.begin - first, .end = range.end - first}};
}

Action& Writer::add(ActionKind kind, Spot spot) {
  return schedule_.actions.emplace_back(
      Action{.kind = kind, .hop = spot.hop, .segment = static_cast<int>(spot.segment)});
}

void Writer::send(Spot spot, int peer, const Place& from) {
  if (from.range.count() == 0) return;
  Action& action = add(ActionKind::kSend, spot);
  action.peer = peer;
  action.from = {from};
}

void Writer::receive(Spot spot, int peer, const Place& to) {
  if (to.range.count() == 0) return;
  Action& action = add(ActionKind::kReceive, spot);
  action.peer = peer;
  action.to = {to};
}

void Writer::reduce(Spot spot, const std::vector<Place>& from, const std::vector<Place>& to, Finality finality) {
  if (from[0].range.count() == 0) return;
  Action& action = add(ActionKind::kReduce, spot);
  action.finality = finality;
  action.from = from;
  action.to = to;
}

void Writer::copy(Spot spot, const Place& from, const Place& to) {
  if (from.range.count() == 0) return;
  Action& action = add(ActionKind::kCopy, spot);
  action.from = {from};
  action.to = {to};
}

void Writer::scale(Spot spot, const Place& to) {
  if (to.range.count() > 0) add(ActionKind::kScale, spot).to = {to};
}

void Writer::signal(Spot spot, int peer, uint64_t value) {
  Action& action = add(ActionKind::kSignal, spot);
  action.peer = peer;
  action.value = value;
}

void Writer::wait(Spot spot, int peer, uint64_t value) {
  Action& action = add(ActionKind::kWait, spot);
  action.peer = peer;
  action.value = value;
}

Schedule alone(const ScheduleRequest& request, const Writer::Title& title) {
  const int64_t segment = usable_segment(
      {.longest = request.element_count, .segment_elements = request.segment_elements, .actions_per_segment = 5});
  Writer writer(request, {.goal = title.goal,
                          .algorithm = title.algorithm,
                          .order = title.order,
                          .hop_count = 0,
                          .segment_elements = segment});
  const bool reduces = title.goal == Goal::kAllReduce || title.goal == Goal::kReduceScatter;
  const int64_t segments = reduces ? segment_count(request.element_count, 1, segment) : 0;
  for (int64_t index = 0; index < segments; ++index) {
    const Spot spot{.segment = index};
    const Range range = segment_of({0, request.element_count}, index, segment);
    const Place data = writer.data(range);
    const Place home = title.goal == Goal::kAllReduce ? data : writer.result(range);
    if (request.wire == Wire::kNarrow) {
      const Place wire = writer.wire({.index = 0, .count = range.count()});
      writer.copy(spot, data, wire);
      writer.copy(spot, wire, home);
      writer.scale(spot, home);
      writer.copy(spot, home, wire);
      writer.copy(spot, wire, home);
      continue;
    }
    if (!(home == data)) writer.copy(spot, data, home);
    writer.scale(spot, home);
  }
  return writer.take();
}

}  // namespace rondo::comm
