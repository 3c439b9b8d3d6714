/// Writes one rank's schedule, action by action: what all algorithms share. Actions that would move no element are left
/// out, at both ends alike, because both ends compute the same ranges.
///
/// Threading: none; a writer lives inside one call of a maker.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "rondo/comm/algorithms.h"

namespace rondo::comm {

/// Where in an algorithm an action belongs: "hop 2, segment 5".
struct Spot {
  int hop = 0;
  int64_t segment = 0;
};

/// The first `count` elements of the `index`th buffer; buffers are one segment long.
struct Buffer {
  int64_t index = 0;
  int64_t count = 0;
};

class Writer {
 public:
  struct Title {
    Goal goal = Goal::kAllReduce;
    std::string_view algorithm;
    Order order = Order::kNone;
    int hop_count = 0;
    int64_t segment_elements = 1;
  };
  Writer(const ScheduleRequest& request, const Title& title);

  /// The schedule; the writer is empty then. Adds the neighbours of the ring to the peers: Note [Descriptors go round].
  Schedule take();

  const Schedule& schedule() const { return schedule_; }
  int rank() const { return schedule_.at.rank; }
  int world_size() const { return schedule_.at.world_size; }
  int64_t segment_elements() const { return segment_elements_; }
  void set_slots(int slots) { schedule_.slots = slots; }

  // Peers, each to be named before or after its actions, once or more.
  void sends_to(int peer) { schedule_.sends_to.push_back(peer); }
  void receives_from(int peer) { schedule_.receives_from.push_back(peer); }
  void talks_to(int peer) { sends_to(peer), receives_from(peer); }
  void talks_to_all();

  // This rank's places. Scratch, wire and result memory grow with what is asked for.
  Place data(Range range) const { return {.rank = rank(), .space = Space::kData, .range = range}; }
  Place scratch(Buffer buffer) { return at({Space::kScratch, schedule_.scratch_elements}, buffer); }
  Place wire(Buffer buffer) { return at({Space::kWire, schedule_.wire_elements}, buffer); }
  /// Scratch, or with a narrow wire, wire memory: where operands arrive.
  Place landing(Buffer buffer) { return schedule_.wire == Wire::kNarrow ? wire(buffer) : scratch(buffer); }
  /// `range` of chunk `rank()`, of the whole buffer's elements.
  Place result(Range range) const;

  void send(Spot spot, int peer, const Place& from);
  void receive(Spot spot, int peer, const Place& to);
  void reduce(Spot spot, const std::vector<Place>& from, const std::vector<Place>& to, Finality finality);
  void copy(Spot spot, const Place& from, const Place& to);
  void scale(Spot spot, const Place& to);
  void signal(Spot spot, int peer, uint64_t value);
  void wait(Spot spot, int peer, uint64_t value);

 private:
  struct Memory {
    Space space;
    int64_t& element_count;
  };
  Place at(const Memory& memory, Buffer buffer) const;
  Action& add(ActionKind kind, Spot spot);

  Schedule schedule_;
  const int64_t segment_elements_;
};

/// The schedule of a group of one rank: the own operand alone, divided (reductions), else nothing.
Schedule alone(const ScheduleRequest& request, const Writer::Title& title);

}  // namespace rondo::comm
