// Runs all ranks of a schedule at once, on ordered sums instead of data.
//
// Note [Why one interleaving proves them all]
// Ranks act in turn until all are done or none can go on. Which rank goes first changes nothing: a message, a slot or a
// signal that lets a rank go on is never taken away by another rank, so every order ends in the same place. What could
// depend on timing is only an access that nothing orders, and these are found by vector clocks: a send, a signal carry
// the clock of their rank, a receive, a wait take it over. Of several signals that satisfy a wait the first counts, for
// it may have been the only one. Free slots order nothing, for a transport may have more of them.
#include "rondo/comm/schedule_check.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <set>
#include <sstream>
#include <utility>

#include "comm/schedule/expressions.h"
#include "comm/schedule/split.h"
#include "comm/schedule/traced_memory.h"

namespace rondo::comm {
namespace {

using Clock = std::vector<uint32_t>;  // per rank: the latest event that is known to have happened

struct Message {
  Event sent;
  int to = -1;
  int64_t count = 0;
  std::vector<Piece> pieces;
  Clock clock;
  uint32_t received_at = 0;  // time of the receive; 0: under way
};

struct Raised {
  uint64_t value = 0;
  Clock clock;
};

struct Pair {                 // from one rank to another
  std::deque<int> under_way;  // messages
  std::vector<Raised> signals;
};

struct Actor {
  const Schedule* schedule = nullptr;
  size_t next = 0;
  Clock clock;
  TracedMemory data;
  TracedMemory scratch;
};

std::string text(const Place& place) {
  std::ostringstream out;
  out << (place.space == Space::kData ? "data" : "scratch") << " [" << place.range.begin << ", " << place.range.end
      << ") of rank " << place.rank;
  return out.str();
}

bool overlap(const Place& a, const Place& b) {
  return a.rank == b.rank && a.space == b.space && a.range.begin < b.range.end && b.range.begin < a.range.end;
}

class Checker {
 public:
  explicit Checker(const CheckRequest& request)
      : request_(request),
        goal_(request.ranks[0].goal),
        n_(static_cast<int>(request.ranks.size())),
        sums_(n_),
        pairs_(request.ranks.size() * request.ranks.size()) {
    for (int rank = 0; rank < n_; ++rank) {
      const Schedule& schedule = request.ranks[static_cast<size_t>(rank)];
      actors_.push_back({.schedule = &schedule,
                         .clock = Clock(static_cast<size_t>(n_), 0),
                         .data = {rank, schedule.element_count},
                         .scratch = {rank, schedule.scratch_elements}});
      actors_.back().clock[static_cast<size_t>(rank)] = kStart;
      fill_input(rank);
    }
  }

  Status run() {
    RONDO_TRY(check_headers());
    for (bool progressed = true; progressed;) {
      progressed = false;
      for (int rank = 0; rank < n_; ++rank) {
        while (!is_finished(rank)) {
          const Status status = step(rank);
          if (status.is_pending()) break;
          RONDO_TRY(status);
          progressed = true;
        }
      }
    }
    RONDO_TRY(check_all_finished());
    RONDO_TRY(check_all_received());
    const std::set<Expression> allowed = allowed_sums();
    for (int rank = 0; rank < n_; ++rank) {
      RONDO_TRY(check_output(rank, allowed));
      RONDO_TRY(check_left_alone(rank));
    }
    return check_equal_everywhere();
  }

 private:
  // -- words ---------------------------------------------------------------------------------------------------------

  Status fail(int rank, const std::string& what) const {
    return {Code::kInvalidArgument, "rank " + std::to_string(rank) + ": " + what, {.rank = rank}};
  }
  std::string text(Event event) const {
    if (event.time == kStart) return "rank " + std::to_string(event.rank) + " before it starts";
    const Action& action = actor(event.rank).schedule->actions[action_index(event)];
    std::ostringstream out;
    out << "rank " << event.rank << ", action " << action_index(event) << " (" << name(action.kind);
    if (action.peer >= 0) out << ", peer " << action.peer;
    out << ", hop " << action.hop << ", segment " << action.segment << ")";
    return out.str();
  }
  Status fail(Event event, const std::string& what) const {
    return {Code::kInvalidArgument, text(event) + ": " + what, {.rank = event.rank}};
  }

  // -- state ---------------------------------------------------------------------------------------------------------

  Actor& actor(int rank) { return actors_[static_cast<size_t>(rank)]; }
  const Actor& actor(int rank) const { return actors_[static_cast<size_t>(rank)]; }
  Pair& pair(int from, int to) { return pairs_[static_cast<size_t>(from) * actors_.size() + static_cast<size_t>(to)]; }
  TracedMemory& memory(const Place& place) {
    return place.space == Space::kData ? actor(place.rank).data : actor(place.rank).scratch;
  }
  bool is_finished(int rank) const { return actor(rank).next == actor(rank).schedule->actions.size(); }
  Event next_event(int rank) const { return {.rank = rank, .time = time_of(actor(rank).next)}; }

  void fill_input(int rank) {
    Actor& self = actor(rank);
    Range input{0, self.data.element_count()};
    if (goal_ == Goal::kAllGather) input = chunk_of(input.end, n_, rank);
    if (goal_ == Goal::kBroadcast && rank != request_.root) input = {};
    if (input.count() == 0) return;
    const Piece own{.count = input.count(), .expression = Expressions::leaf(rank), .first_index = input.begin};
    self.data.write(input, {own}, {.rank = rank, .time = kStart});
  }

  bool has_happened(Event event, const Clock& before) const {
    return before[static_cast<size_t>(event.rank)] >= event.time;
  }
  void take_over(int rank, const Clock& other) {
    Clock& own = actor(rank).clock;
    for (size_t i = 0; i < own.size(); ++i) own[i] = std::max(own[i], other[i]);
  }

  // -- accesses ------------------------------------------------------------------------------------------------------

  Status check_place(Event event, const Place& place) {
    if (place.rank < 0 || place.rank >= n_) return fail(event, text_of(place) + " belongs to no rank");
    if (place.range.begin < 0 || place.range.count() <= 0 || place.range.end > memory(place).element_count()) {
      return fail(event, text_of(place) + " is empty or out of range: there are " +
                             std::to_string(memory(place).element_count()) + " elements");
    }
    if (place.rank != event.rank && place.space == Space::kScratch) {
      return fail(event, text_of(place) + " cannot be reached: scratch is private to its rank");
    }
    return {};
  }
  static std::string text_of(const Place& place) { return comm::text(place); }

  Status read(Event event, const Place& place, std::vector<Piece>& pieces, int message = -1) {
    RONDO_TRY(check_place(event, place));
    const auto found = memory(place).slice(place.range);
    for (auto at = found.begin; at != found.end; ++at) {
      TracedMemory::Cell& cell = at->second;
      if (cell.expression == kNothing) {
        return fail(event,
                    "reads " + text_of(place) + ", but element " + std::to_string(at->first) + " was never written");
      }
      if (!has_happened(cell.writer, actor(event.rank).clock)) {
        return fail(event, "reads " + text_of(place) + " while " + text(cell.writer) +
                               " may still write it: a wait or a message between the two is missing");
      }
      cell.readers.push_back({.event = event, .message = message});
      pieces.push_back({.count = cell.end - at->first, .expression = cell.expression, .first_index = cell.first_index});
    }
    return {};
  }

  Status write(Event event, const Place& place, const std::vector<Piece>& pieces) {
    RONDO_TRY(check_place(event, place));
    const Clock& clock = actor(event.rank).clock;
    const auto found = memory(place).slice(place.range);
    for (auto at = found.begin; at != found.end; ++at) {
      const TracedMemory::Cell& cell = at->second;
      if (!has_happened(cell.writer, clock)) {
        return fail(event, "writes " + text_of(place) + " while " + text(cell.writer) +
                               " may still write it: a wait or a message between the two is missing");
      }
      for (const Reader& reader : cell.readers) {
        if (reader.message < 0) {
          if (has_happened(reader.event, clock)) continue;
          return fail(event, "writes " + text_of(place) + " while " + text(reader.event) +
                                 " may still read it: a wait or a message between the two is missing");
        }
        const Message& message = messages_[static_cast<size_t>(reader.message)];
        if (message.received_at > 0 && has_happened({message.to, message.received_at}, clock)) continue;
        return fail(event, "overwrites " + text_of(place) + ", which " + text(message.sent) + " hands out: rank " +
                               std::to_string(message.to) + " may not have received it yet");
      }
    }
    memory(place).write(place.range, pieces, event);
    return {};
  }

  // -- actions -------------------------------------------------------------------------------------------------------

  Status check_shape(Event event, const Action& action) const {
    const bool has_peer = action.kind == ActionKind::kSend || action.kind == ActionKind::kReceive ||
                          action.kind == ActionKind::kSignal || action.kind == ActionKind::kWait;
    const bool reads = action.kind == ActionKind::kSend || action.kind == ActionKind::kCopy;
    const bool writes =
        action.kind == ActionKind::kReceive || action.kind == ActionKind::kCopy || action.kind == ActionKind::kScale;
    if (action.kind == ActionKind::kReduce
            ? action.from.empty() || action.to.empty()
            : action.from.size() != size_t{reads} || action.to.size() != size_t{writes}) {
      return fail(event, "has a wrong number of places");
    }
    if (has_peer && (action.peer < 0 || action.peer >= n_ || action.peer == event.rank)) {
      return fail(event, "has the wrong peer " + std::to_string(action.peer) + " of " + std::to_string(n_) + " ranks");
    }
    for (const auto* places : {&action.from, &action.to}) {
      for (const Place& place : *places) {
        if (has_peer && place.rank != event.rank) {
          return fail(event, text_of(place) + " is foreign: messages leave from and arrive in own memory");
        }
        const Range first = action.from.empty() ? action.to[0].range : action.from[0].range;
        if (place.range.count() != first.count()) {
          return fail(event, "mixes places of " + std::to_string(first.count()) + " and " +
                                 std::to_string(place.range.count()) + " elements");
        }
      }
    }
    for (size_t t = 0; t < action.to.size(); ++t) {
      for (const Place& operand : action.from) {
        if (overlap(action.to[t], operand) && !(action.to[t] == operand)) {
          return fail(event, text_of(action.to[t]) + " overlaps the operand " + text_of(operand) + " without being it");
        }
      }
      for (size_t other = 0; other < t; ++other) {
        if (overlap(action.to[t], action.to[other])) return fail(event, text_of(action.to[t]) + " is stored to twice");
      }
    }
    return {};
  }

  // kPending: has to wait.
  Status step(int rank) {
    const Event event = next_event(rank);
    const Action& action = actor(rank).schedule->actions[actor(rank).next];
    RONDO_TRY(check_shape(event, action));
    actor(rank).clock[static_cast<size_t>(rank)] = event.time;
    RONDO_TRY(act(event, action));
    ++actor(rank).next;
    return {};
  }

  Status act(Event event, const Action& action) {
    switch (action.kind) {
      case ActionKind::kSend:
        return send(event, action);
      case ActionKind::kReceive:
        return receive(event, action);
      case ActionKind::kReduce:
        return reduce(event, action);
      case ActionKind::kCopy: {
        std::vector<Piece> pieces;
        RONDO_TRY(read(event, action.from[0], pieces));
        return write(event, action.to[0], pieces);
      }
      case ActionKind::kScale:
        return scale(event, action);
      case ActionKind::kSignal: {
        auto& signals = pair(event.rank, action.peer).signals;
        const uint64_t before = signals.empty() ? 0 : signals.back().value;
        if (action.value <= before) {
          return fail(event, "does not raise its signal: it is " + std::to_string(before) + " already");
        }
        signals.push_back({.value = action.value, .clock = actor(event.rank).clock});
        return {};
      }
      case ActionKind::kWait:
        for (const Raised& raised : pair(action.peer, event.rank).signals) {
          if (raised.value < action.value) continue;
          take_over(event.rank, raised.clock);
          return {};
        }
        return Status::pending();
    }
    return fail(event, "is no known action");
  }

  Status send(Event event, const Action& action) {
    const Schedule& schedule = *actor(event.rank).schedule;
    if (std::ranges::find(schedule.sends_to, action.peer) == schedule.sends_to.end()) {
      return fail(event, "has the wrong peer: sends_to does not name it");
    }
    auto& under_way = pair(event.rank, action.peer).under_way;
    if (static_cast<int>(under_way.size()) >= schedule.slots) return Status::pending();
    const int number = static_cast<int>(messages_.size());
    Message message{.sent = event, .to = action.peer, .count = action.from[0].range.count(), .pieces = {}, .clock = {}};
    RONDO_TRY(read(event, action.from[0], message.pieces, number));
    message.clock = actor(event.rank).clock;
    messages_.push_back(std::move(message));
    under_way.push_back(number);
    return {};
  }

  Status receive(Event event, const Action& action) {
    const Schedule& schedule = *actor(event.rank).schedule;
    if (std::ranges::find(schedule.receives_from, action.peer) == schedule.receives_from.end()) {
      return fail(event, "has the wrong peer: receives_from does not name it");
    }
    auto& under_way = pair(action.peer, event.rank).under_way;
    if (under_way.empty()) return Status::pending();
    Message& message = messages_[static_cast<size_t>(under_way.front())];
    under_way.pop_front();
    if (message.count != action.to[0].range.count()) {
      return fail(event, "takes " + std::to_string(action.to[0].range.count()) + " elements, but the message of " +
                             text(message.sent) + " brings " + std::to_string(message.count));
    }
    take_over(event.rank, message.clock);
    message.received_at = event.time;
    message.clock = {};
    return write(event, action.to[0], std::exchange(message.pieces, {}));
  }

  Status scale(Event event, const Action& action) {
    std::vector<Piece> pieces;
    RONDO_TRY(read(event, action.to[0], pieces));
    RONDO_TRY(finish(event, action.to[0], pieces));
    return write(event, action.to[0], pieces);
  }

  Status finish(Event event, const Place& place, std::vector<Piece>& pieces) {
    for (Piece& piece : pieces) {
      if (sums_.is_final(piece.expression)) return fail(event, "makes " + text_of(place) + " final a second time");
      if (const int missing = sums_.missing_rank(piece.expression); missing >= 0) {
        return fail(event, "makes " + text_of(place) + " final before rank " + std::to_string(missing) + " was added");
      }
      piece.expression = sums_.final(piece.expression);
    }
    return {};
  }

  Status reduce(Event event, const Action& action) {
    std::vector<std::vector<Piece>> operands(action.from.size());
    for (size_t i = 0; i < operands.size(); ++i) RONDO_TRY(read(event, action.from[i], operands[i]));
    RONDO_TRY(combine(event, operands, {0, operands.size()}));
    if (action.finality == Finality::kFinal) RONDO_TRY(finish(event, action.to[0], operands[0]));
    for (const Place& to : action.to) RONDO_TRY(write(event, to, operands[0]));
    return {};
  }

  // operands[lo] := T(lo, hi).
  Status combine(Event event, std::vector<std::vector<Piece>>& operands, std::pair<size_t, size_t> part) {
    const auto [lo, hi] = part;
    if (hi - lo == 1) return {};
    const size_t middle = lo + std::bit_floor(hi - lo - 1);
    RONDO_TRY(combine(event, operands, {lo, middle}));
    RONDO_TRY(combine(event, operands, {middle, hi}));
    return add(event, operands[lo], operands[middle]);
  }

  // result := result + right, piece by piece.
  Status add(Event event, std::vector<Piece>& result, const std::vector<Piece>& right) {
    std::vector<Piece> summed;
    Piece a = result[0];
    Piece b = right[0];
    for (size_t i = 0, j = 0;;) {
      const int64_t count = std::min(a.count, b.count);
      if (a.first_index != b.first_index) {
        return fail(event,
                    "adds element " + std::to_string(b.first_index) + " to element " + std::to_string(a.first_index));
      }
      if (sums_.is_final(a.expression) || sums_.is_final(b.expression)) {
        return fail(event, "adds a value that is final already");
      }
      if (const int twice = sums_.shared_rank(a.expression, b.expression); twice >= 0) {
        return fail(event, "adds the contribution of rank " + std::to_string(twice) + " a second time to element " +
                               std::to_string(a.first_index));
      }
      summed.push_back(
          {.count = count, .expression = sums_.sum(a.expression, b.expression), .first_index = a.first_index});
      const auto advance = [count](Piece& piece, const std::vector<Piece>& all, size_t& index) {
        piece.count -= count;
        piece.first_index += count;
        if (piece.count > 0) return true;
        if (++index == all.size()) return false;
        piece = all[index];
        return true;
      };
      const bool more = advance(a, result, i);
      if (!advance(b, right, j) || !more) break;
    }
    result = std::move(summed);
    return {};
  }

  // -- verdicts ------------------------------------------------------------------------------------------------------

  Status check_headers() const {
    for (int rank = 0; rank < n_; ++rank) {
      const Schedule& schedule = *actor(rank).schedule;
      const Schedule& first = *actor(0).schedule;
      if (schedule.at != Position{.rank = rank, .world_size = n_}) {
        return fail(rank, "its schedule was made for rank " + std::to_string(schedule.at.rank) + " of " +
                              std::to_string(schedule.at.world_size));
      }
      if (schedule.element_count != first.element_count || schedule.order != first.order) {
        return fail(rank, "its schedule has another element count or order than that of rank 0");
      }
      for (const int peer : schedule.sends_to) {
        if (peer < 0 || peer >= n_ || peer == rank)
          return fail(rank, "sends_to names the wrong peer " + std::to_string(peer));
        const auto& from = actor(peer).schedule->receives_from;
        if (std::ranges::find(from, rank) == from.end()) {
          return fail(rank, "sends_to names rank " + std::to_string(peer) + ", whose receives_from does not name it");
        }
      }
      for (const int peer : schedule.receives_from) {
        if (peer < 0 || peer >= n_ || peer == rank)
          return fail(rank, "receives_from names the wrong peer " + std::to_string(peer));
        const auto& to = actor(peer).schedule->sends_to;
        if (std::ranges::find(to, rank) == to.end()) {
          return fail(rank, "receives_from names rank " + std::to_string(peer) + ", whose sends_to does not name it");
        }
      }
    }
    return {};
  }

  Status check_all_finished() const {
    std::string stuck;
    int first = -1;
    for (int rank = 0; rank < n_; ++rank) {
      if (is_finished(rank)) continue;
      const Action& action = actor(rank).schedule->actions[actor(rank).next];
      if (action.kind != ActionKind::kSend && is_finished(action.peer)) {
        return fail(next_event(rank),
                    "waits for ever: rank " + std::to_string(action.peer) + " has finished without " +
                        (action.kind == ActionKind::kReceive ? "sending this message" : "this signal"));
      }
      if (first < 0) first = rank;
      stuck += (stuck.empty() ? "" : "; ") + text(next_event(rank));
    }
    if (first < 0) return {};
    return {Code::kInvalidArgument,
            "deadlock with " + std::to_string(actor(first).schedule->slots) +
                " slots, these wait for one another: " + stuck,
            {.rank = first}};
  }

  Status check_all_received() const {
    for (const Message& message : messages_) {
      if (message.received_at == 0) return fail(message.sent, "nobody receives this message");
    }
    return {};
  }

  Status check_output(int rank, const std::set<Expression>& allowed) const {
    for (const auto& [begin, cell] : actor(rank).data.cells()) {
      const Expression sum = cell.expression;
      const std::string element = "element " + std::to_string(begin);
      if (sum == kNothing) return fail(rank, element + " is never written");
      if (cell.first_index != begin) {
        return fail(cell.writer, element + " ends as element " + std::to_string(cell.first_index));
      }
      if (goal_ == Goal::kAllReduce) {
        if (const int missing = sums_.missing_rank(sum); missing >= 0) {
          return fail(cell.writer, element + " ends without the contribution of rank " + std::to_string(missing));
        }
        if (!sums_.is_final(sum)) return fail(cell.writer, element + " ends without being final");
        if (!allowed.contains(sums_.before_final(sum))) {
          return fail(cell.writer, element + " is not summed in the declared order \"" +
                                       std::string(name(actor(rank).schedule->order)) + "\"");
        }
        continue;
      }
      for (int64_t at = begin; at < cell.end;) {
        int owner = request_.root;
        int64_t end = cell.end;
        if (goal_ == Goal::kAllGather) {
          for (owner = 0; chunk_of(actor(rank).data.element_count(), n_, owner).end <= at;) ++owner;
          end = std::min(end, chunk_of(actor(rank).data.element_count(), n_, owner).end);
        }
        if (sum != Expressions::leaf(owner)) {
          return fail(cell.writer, "element " + std::to_string(at) + " is not that of rank " + std::to_string(owner));
        }
        at = end;
      }
    }
    return {};
  }

  // A rank that has finished may give its memory away: nobody may touch it any more.
  Status check_left_alone(int rank) const {
    const Clock& clock = actor(rank).clock;
    for (const auto& [begin, cell] : actor(rank).data.cells()) {
      if (!has_happened(cell.writer, clock)) {
        return fail(cell.writer, "writes to rank " + std::to_string(rank) + ", which may have left: a wait is missing");
      }
      for (const Reader& reader : cell.readers) {
        if (reader.message >= 0 || has_happened(reader.event, clock)) continue;
        return fail(reader.event,
                    "reads from rank " + std::to_string(rank) + ", which may have left: a wait is missing");
      }
    }
    return {};
  }

  std::set<Expression> allowed_sums() {
    std::set<Expression> allowed;
    switch (actor(0).schedule->order) {
      case Order::kNone:
        break;
      case Order::kCanonical:
        allowed.insert(sums_.canonical(0, n_));
        break;
      case Order::kLinear:
        allowed.insert(sums_.rotation(0));
        break;
      case Order::kFolded:
      case Order::kByHost:
        break;
      case Order::kByChunk:
        for (int rank = 0; rank < n_; ++rank) allowed.insert(sums_.rotation(rank));
        break;
    }
    return allowed;
  }

  Status check_equal_everywhere() {
    for (int rank = 1; rank < n_; ++rank) {
      for (const auto& [begin, cell] : actor(rank).data.cells()) {
        for (const Piece& piece : actor(0).data.pieces({begin, cell.end})) {
          if (piece.expression == cell.expression) continue;
          return fail(cell.writer, "element " + std::to_string(piece.first_index) + " has other bits than on rank 0");
        }
      }
    }
    return {};
  }

  const CheckRequest& request_;
  const Goal goal_;
  const int n_;
  Expressions sums_;
  std::vector<Actor> actors_;
  std::vector<Pair> pairs_;
  std::vector<Message> messages_;
};

}  // namespace

Status check(const CheckRequest& request) {
  if (request.ranks.empty()) return {Code::kInvalidArgument, "a schedule over zero ranks: give one schedule a rank"};
  return Checker(request).run();
}

}  // namespace rondo::comm
