/// Plays the schedules of all ranks at once, on ordered sums instead of data: the first half of the checker. What the
/// ranks end with is judged by the second half, schedule_check.cc.
///
/// Note [Why one interleaving proves them all]
/// Ranks act in turn until all are done or none can go on. Which rank goes first changes nothing: a message, a slot or
/// a signal that lets a rank go on is never taken away by another rank, so every order ends in the same place. What
/// could depend on timing is only an access that nothing orders, and these are found by vector clocks: a send, a signal
/// carry the clock of their rank, a receive, a wait take it over. Of several signals that satisfy a wait the first
/// counts, for it may have been the only one. A free slot tells nothing about the peer, only that its sender may use
/// the range of the message before again.
///
/// Not thread-safe; refers to the schedules, which must outlive it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/schedule/expressions.h"
#include "comm/schedule/traced_memory.h"
#include "rondo/comm/schedule_check.h"

namespace rondo::comm {

std::string text_of(const Place& place);

class SymbolicRun {
 public:
  explicit SymbolicRun(const ScheduleCheck& request);

  /// Until all ranks have finished; or the first thing that is wrong.
  Status run();

  const Proof& proof() const { return proof_; }
  const Expressions& sums() const { return sums_; }
  const TracedMemory& memory(int rank, Space space) const {
    return actors_[static_cast<size_t>(rank)].memory[static_cast<size_t>(space)];
  }
  /// Whether `event` is known to have happened when `rank` has finished.
  bool has_happened(Event event, int rank) const { return has_happened(event, actor(rank).clock); }

  Status fail(int rank, const std::string& what) const;
  Status fail(Event event, const std::string& what) const;

 private:
  using Clock = std::vector<uint32_t>;  // per rank: the latest event that is known to have happened

  struct Message {
    Event sent;
    int to = -1;
    size_t number = 0;         // on its pair
    uint32_t received_at = 0;  // time of the receive; 0: under way
    const Action* action = nullptr;
    std::vector<Piece> pieces;
    Clock clock;
  };
  struct Raised {
    uint64_t value = 0;
    Clock clock;
  };
  struct Pair {             // from one rank to another
    std::vector<int> sent;  // messages, in order
    size_t taken = 0;       // of them; the rest is under way
    std::vector<Raised> signals;
  };
  struct Actor {
    const Schedule* schedule = nullptr;
    size_t next = 0;
    Clock clock;
    std::array<TracedMemory, 4> memory;  // by space
  };
  using Pieces = std::vector<Piece>;

  std::string text_of(Event event) const;
  Actor& actor(int rank) { return actors_[static_cast<size_t>(rank)]; }
  const Actor& actor(int rank) const { return actors_[static_cast<size_t>(rank)]; }
  Pair& pair(int from, int to) { return pairs_[static_cast<size_t>(from) * actors_.size() + static_cast<size_t>(to)]; }
  TracedMemory& memory(const Place& place) { return actor(place.rank).memory[static_cast<size_t>(place.space)]; }
  bool is_finished(int rank) const { return actor(rank).next == actor(rank).schedule->actions.size(); }
  Event next_event(int rank) const { return {.rank = rank, .time = time_of(actor(rank).next)}; }
  static bool has_happened(Event event, const Clock& before) {
    return before[static_cast<size_t>(event.rank)] >= event.time;
  }
  void take_over(int rank, const Clock& other);
  void fill_input(int rank);
  bool rounds(Space space) const { return space == Space::kWire && wire_ == Wire::kNarrow; }

  Status check_shape(Event event, const Action& action) const;
  Status check_place(Event event, const Place& place);
  Status read(Event event, const Place& place, Pieces& pieces, int message = -1);
  Status write(Event event, const Place& place, Pieces pieces);

  // kPending: has to wait.
  Status step(int rank);
  Status act(Event event, const Action& action);
  Status send(Event event, const Action& action);
  Status receive(Event event, const Action& action);
  Status scale(Event event, const Action& action);
  Status signal(Event event, const Action& action);
  Status wait(Event event, const Action& action);
  Status reduce(Event event, const Action& action);
  Status combine(Event event, std::span<Pieces> operands);
  Status add(Event event, Pieces& result, const Pieces& right);
  Status finish(Event event, const Place& place, Pieces& pieces);
  Status check_order(Event event, const Piece& piece) const;

  Status check_all_finished() const;
  Status check_all_received() const;

  const ScheduleCheck& request_;
  const int n_;
  const Goal goal_;
  const Wire wire_;
  Expressions sums_;
  std::vector<Actor> actors_;
  std::vector<Pair> pairs_;
  std::vector<Message> messages_;
  std::vector<Expression> declared_sums_;  // ascending
  Proof proof_;
};

}  // namespace rondo::comm
