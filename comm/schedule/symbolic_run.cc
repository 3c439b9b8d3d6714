#include "comm/schedule/symbolic_run.h"

#include <algorithm>
#include <bit>
#include <sstream>
#include <utility>

#include "comm/schedule/orders.h"
#include "comm/schedule/split.h"

namespace rondo::comm {
namespace {

bool overlap(const Place& a, const Place& b) {
  return a.rank == b.rank && a.space == b.space && a.range.begin < b.range.end && b.range.begin < a.range.end;
}

bool names(const std::vector<int>& peers, int peer) { return std::ranges::binary_search(peers, peer); }

bool has_peer(ActionKind kind) {
  return kind == ActionKind::kSend || kind == ActionKind::kReceive || kind == ActionKind::kSignal ||
         kind == ActionKind::kWait;
}

}  // namespace

std::string text_of(const Place& place) {
  std::ostringstream out;
  out << name(place.space) << " [" << place.range.begin << ", " << place.range.end << ") of rank " << place.rank;
  return out.str();
}

SymbolicRun::SymbolicRun(const ScheduleCheck& request)
    : request_(request),
      n_(static_cast<int>(request.ranks.size())),
      goal_(request.ranks[0].goal),
      wire_(request.ranks[0].wire),
      sums_(n_),
      pairs_(request.ranks.size() * request.ranks.size()) {
  for (int rank = 0; rank < n_; ++rank) {
    const Schedule& schedule = request.ranks[static_cast<size_t>(rank)];
    actors_.push_back(
        {.schedule = &schedule,
         .clock = Clock(static_cast<size_t>(n_), 0),
         .memory = {TracedMemory(rank, schedule.element_count), TracedMemory(rank, schedule.scratch_elements),
                    TracedMemory(rank, schedule.wire_elements), TracedMemory(rank, schedule.result_elements)}});
    actors_.back().clock[static_cast<size_t>(rank)] = kStart;
    fill_input(rank);
    proof_.actions += static_cast<int64_t>(schedule.actions.size());
  }
  std::vector<Expression> operands;
  for (int rank = 0; rank < n_; ++rank) {
    const Expression leaf = Expressions::leaf(rank);
    operands.push_back(wire_ == Wire::kNarrow ? sums_.narrowed(leaf) : leaf);
  }
  declared_sums_ = sums_of(request.ranks[0].order, hosts_of(request.host_of_rank, n_), operands, sums_);
  std::ranges::sort(declared_sums_);
}

void SymbolicRun::fill_input(int rank) {
  TracedMemory& data = actor(rank).memory[static_cast<size_t>(Space::kData)];
  Range input{0, data.element_count()};
  if (goal_ == Goal::kAllGather) input = chunk_of(input.end, n_, rank);
  if (goal_ == Goal::kBroadcast && rank != request_.root) input = {};
  if (input.count() == 0) return;
  const Piece own{.count = input.count(), .expression = Expressions::leaf(rank), .first_index = input.begin};
  data.write(input, {own}, {.rank = rank, .time = kStart});
}

Status SymbolicRun::run() {
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
  return check_all_received();
}

// -- words
// -------------------------------------------------------------------------------------------------------------

Status SymbolicRun::fail(int rank, const std::string& what) const {
  return {Code::kInvalidArgument, "rank " + std::to_string(rank) + ": " + what, {.rank = rank}};
}

Status SymbolicRun::fail(Event event, const std::string& what) const {
  return {Code::kInvalidArgument, text_of(event) + ": " + what, {.rank = event.rank}};
}

std::string SymbolicRun::text_of(Event event) const {
  if (event.time == kStart) return "rank " + std::to_string(event.rank) + " before it starts";
  const Action& action = actor(event.rank).schedule->actions[action_index(event)];
  std::ostringstream out;
  out << "rank " << event.rank << ", action " << action_index(event) << " (" << name(action.kind);
  if (action.peer >= 0) out << ", peer " << action.peer;
  out << ", hop " << action.hop << ", segment " << action.segment << ")";
  return out.str();
}

// -- accesses
// ----------------------------------------------------------------------------------------------------------

void SymbolicRun::take_over(int rank, const Clock& other) {
  Clock& own = actor(rank).clock;
  for (size_t i = 0; i < own.size(); ++i) own[i] = std::max(own[i], other[i]);
}

Status SymbolicRun::check_place(Event event, const Place& place) {
  using comm::text_of;
  if (place.rank < 0 || place.rank >= n_) return fail(event, text_of(place) + " belongs to no rank");
  if (place.range.begin < 0 || place.range.count() <= 0 || place.range.end > memory(place).element_count()) {
    return fail(event, text_of(place) + " is empty or out of range: there are " +
                           std::to_string(memory(place).element_count()) + " elements");
  }
  if (place.rank != event.rank && place.space != Space::kData) {
    return fail(event, text_of(place) + " cannot be reached: only data is open to other ranks");
  }
  ++proof_.accesses;
  return {};
}

Status SymbolicRun::read(Event event, const Place& place, Pieces& pieces, int message) {
  using comm::text_of;
  RONDO_TRY(check_place(event, place));
  const auto found = memory(place).slice(place.range);
  for (auto at = found.begin; at != found.end; ++at) {
    TracedMemory::Cell& cell = at->second;
    if (cell.expression == kNothing) {
      return fail(event,
                  "reads " + text_of(place) + ", but element " + std::to_string(at->first) + " was never written");
    }
    if (!has_happened(cell.writer, actor(event.rank).clock)) {
      return fail(event, "reads " + text_of(place) + " while " + this->text_of(cell.writer) +
                             " may still write it: a wait or a message between the two is missing");
    }
    cell.readers.push_back({.event = event, .message = message});
    pieces.push_back({.count = cell.end - at->first, .expression = cell.expression, .first_index = cell.first_index});
  }
  return {};
}

Status SymbolicRun::write(Event event, const Place& place, Pieces pieces) {
  using comm::text_of;
  RONDO_TRY(check_place(event, place));
  if (goal_ == Goal::kReduceScatter && place.space == Space::kData) {
    return fail(event, "stores to " + text_of(place) + ", but reduce_scatter leaves data as it is");
  }
  const Clock& clock = actor(event.rank).clock;
  const auto found = memory(place).slice(place.range);
  for (auto at = found.begin; at != found.end; ++at) {
    const TracedMemory::Cell& cell = at->second;
    if (!has_happened(cell.writer, clock)) {
      return fail(event, "writes " + text_of(place) + " while " + this->text_of(cell.writer) +
                             " may still write it: a wait or a message between the two is missing");
    }
    for (const Reader& reader : cell.readers) {
      if (reader.message < 0) {
        if (has_happened(reader.event, clock)) continue;
        return fail(event, "writes " + text_of(place) + " while " + this->text_of(reader.event) +
                               " may still read it: a wait or a message between the two is missing");
      }
      const Message& message = messages_[static_cast<size_t>(reader.message)];
      if (message.received_at > 0 && has_happened({message.to, message.received_at}, clock)) continue;
      const size_t later = pair(message.sent.rank, message.to).sent.size() - 1 - message.number;
      const int slots = actor(event.rank).schedule->slots;
      if (message.sent.rank == event.rank && later >= static_cast<size_t>(slots)) continue;
      return fail(event, "overwrites " + text_of(place) + ", which " + this->text_of(message.sent) +
                             " hands out: rank " + std::to_string(message.to) + " may not have received it yet");
    }
  }
  if (rounds(place.space)) {
    for (Piece& piece : pieces) piece.expression = sums_.narrowed(piece.expression);
  }
  memory(place).write(place.range, pieces, event);
  return {};
}

// -- actions
// -----------------------------------------------------------------------------------------------------------

Status SymbolicRun::check_shape(Event event, const Action& action) const {
  using comm::text_of;
  const bool reads = action.kind == ActionKind::kSend || action.kind == ActionKind::kCopy;
  const bool writes =
      action.kind == ActionKind::kReceive || action.kind == ActionKind::kCopy || action.kind == ActionKind::kScale;
  if (action.kind == ActionKind::kReduce ? action.from.empty() || action.to.empty()
                                         : action.from.size() != size_t{reads} || action.to.size() != size_t{writes}) {
    return fail(event, "has a wrong number of places");
  }
  if (has_peer(action.kind) && (action.peer < 0 || action.peer >= n_ || action.peer == event.rank)) {
    return fail(event, "has the wrong peer " + std::to_string(action.peer) + " of " + std::to_string(n_) + " ranks");
  }
  if (action.hop < 0 || action.hop >= std::max(1, actor(event.rank).schedule->hop_count)) {
    return fail(event, "has a hop beyond the " + std::to_string(actor(event.rank).schedule->hop_count) + " declared");
  }
  for (const auto* places : {&action.from, &action.to}) {
    for (const Place& place : *places) {
      if (has_peer(action.kind) && place.rank != event.rank) {
        return fail(event, text_of(place) + " is foreign: messages leave from and arrive in own memory");
      }
      const Range first = action.from.empty() ? action.to[0].range : action.from[0].range;
      if (place.range.count() != first.count()) {
        return fail(event, "mixes places of " + std::to_string(first.count()) + " and " +
                               std::to_string(place.range.count()) + " elements");
      }
    }
  }
  if (action.kind == ActionKind::kReduce) {
    for (const auto* places : {&action.from, &action.to}) {
      for (const Place& place : *places) {
        if ((place.space == Space::kWire) == (action.to[0].space == Space::kWire)) continue;
        return fail(event, "mixes " + text_of(place) + " and " + text_of(action.to[0]) +
                               ", which have different element types");
      }
    }
  }
  if (action.kind == ActionKind::kScale && action.to[0].space == Space::kWire) {
    return fail(event, text_of(action.to[0]) + " has the wire type: widen it first");
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

Status SymbolicRun::step(int rank) {
  const Event event = next_event(rank);
  const Action& action = actor(rank).schedule->actions[actor(rank).next];
  RONDO_TRY(check_shape(event, action));
  actor(rank).clock[static_cast<size_t>(rank)] = event.time;
  RONDO_TRY(act(event, action));
  ++actor(rank).next;
  return {};
}

Status SymbolicRun::act(Event event, const Action& action) {
  switch (action.kind) {
    case ActionKind::kSend:
      return send(event, action);
    case ActionKind::kReceive:
      return receive(event, action);
    case ActionKind::kReduce:
      return reduce(event, action);
    case ActionKind::kCopy: {
      Pieces pieces;
      RONDO_TRY(read(event, action.from[0], pieces));
      return write(event, action.to[0], std::move(pieces));
    }
    case ActionKind::kScale:
      return scale(event, action);
    case ActionKind::kSignal:
      return signal(event, action);
    case ActionKind::kWait:
      return wait(event, action);
  }
  return fail(event, "is no known action");
}

Status SymbolicRun::send(Event event, const Action& action) {
  const Schedule& schedule = *actor(event.rank).schedule;
  if (!names(schedule.sends_to, action.peer)) {
    return fail(event, "has the wrong peer: sends_to does not name it");
  }
  Pair& link = pair(event.rank, action.peer);
  if (link.sent.size() - link.taken >= static_cast<size_t>(schedule.slots)) return Status::pending();
  const int index = static_cast<int>(messages_.size());
  Message message{
      .sent = event, .to = action.peer, .number = link.sent.size(), .action = &action, .pieces = {}, .clock = {}};
  RONDO_TRY(read(event, action.from[0], message.pieces, index));
  message.clock = actor(event.rank).clock;
  messages_.push_back(std::move(message));
  link.sent.push_back(index);
  ++proof_.messages;
  return {};
}

Status SymbolicRun::receive(Event event, const Action& action) {
  const Schedule& schedule = *actor(event.rank).schedule;
  if (!names(schedule.receives_from, action.peer)) {
    return fail(event, "has the wrong peer: receives_from does not name it");
  }
  Pair& link = pair(action.peer, event.rank);
  if (link.taken == link.sent.size()) return Status::pending();
  Message& message = messages_[static_cast<size_t>(link.sent[link.taken++])];
  const Place& from = message.action->from[0];
  const Place& to = action.to[0];
  const auto mismatch = [&](const std::string& mine, const std::string& theirs) {
    return fail(event, "takes " + mine + ", but the message of " + text_of(message.sent) + " brings " + theirs);
  };
  if (from.range.count() != to.range.count()) {
    return mismatch(std::to_string(to.range.count()) + " elements", std::to_string(from.range.count()));
  }
  if ((from.space == Space::kWire) != (to.space == Space::kWire)) {
    const auto type = [](Space space) { return space == Space::kWire ? "the wire type" : "the data's type"; };
    return mismatch("elements of " + std::string(type(to.space)), type(from.space));
  }
  if (message.action->hop != action.hop || message.action->segment != action.segment) {
    return mismatch("its own hop and segment", "another");
  }
  take_over(event.rank, message.clock);
  message.received_at = event.time;
  message.clock = {};
  return write(event, to, std::exchange(message.pieces, {}));
}

Status SymbolicRun::signal(Event event, const Action& action) {
  auto& signals = pair(event.rank, action.peer).signals;
  const uint64_t before = signals.empty() ? 0 : signals.back().value;
  if (action.value <= before) {
    return fail(event, "does not raise its signal: it is " + std::to_string(before) + " already");
  }
  signals.push_back({.value = action.value, .clock = actor(event.rank).clock});
  return {};
}

Status SymbolicRun::wait(Event event, const Action& action) {
  for (const Raised& raised : pair(action.peer, event.rank).signals) {
    if (raised.value < action.value) continue;
    take_over(event.rank, raised.clock);
    return {};
  }
  return Status::pending();
}

Status SymbolicRun::scale(Event event, const Action& action) {
  Pieces pieces;
  RONDO_TRY(read(event, action.to[0], pieces));
  RONDO_TRY(finish(event, action.to[0], pieces));
  return write(event, action.to[0], std::move(pieces));
}

Status SymbolicRun::reduce(Event event, const Action& action) {
  std::vector<Pieces> operands(action.from.size());
  for (size_t i = 0; i < operands.size(); ++i) RONDO_TRY(read(event, action.from[i], operands[i]));
  RONDO_TRY(combine(event, operands));
  if (action.finality == Finality::kFinal) RONDO_TRY(finish(event, action.to[0], operands[0]));
  for (const Place& to : action.to) RONDO_TRY(write(event, to, operands[0]));
  return {};
}

// operands[0] := the canonical tree over all of them.
Status SymbolicRun::combine(Event event, std::span<Pieces> operands) {
  if (operands.size() == 1) return {};
  const size_t middle = std::bit_floor(operands.size() - 1);
  RONDO_TRY(combine(event, operands.first(middle)));
  RONDO_TRY(combine(event, operands.subspan(middle)));
  return add(event, operands[0], operands[middle]);
}

// result := result + right, piece by piece.
Status SymbolicRun::add(Event event, Pieces& result, const Pieces& right) {
  Pieces summed;
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
    const auto advance = [count](Piece& piece, const Pieces& all, size_t& index) {
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

Status SymbolicRun::finish(Event event, const Place& place, Pieces& pieces) {
  using comm::text_of;
  for (Piece& piece : pieces) {
    if (sums_.is_final(piece.expression)) return fail(event, "makes " + text_of(place) + " final a second time");
    if (const int missing = sums_.missing_rank(piece.expression); missing >= 0) {
      return fail(event, "makes " + text_of(place) + " final before rank " + std::to_string(missing) + " was added");
    }
    RONDO_TRY(check_order(event, piece));
    piece.expression = sums_.final(piece.expression);
  }
  return {};
}

Status SymbolicRun::check_order(Event event, const Piece& piece) const {
  if (std::ranges::binary_search(declared_sums_, piece.expression)) return {};
  const std::string element = "element " + std::to_string(piece.first_index);
  if (const int wide = wire_ == Wire::kNarrow ? sums_.wide_operand(piece.expression) : -1; wide >= 0) {
    return fail(event, element + " holds the operand of rank " + std::to_string(wide) +
                           " as it was, not rounded to the wire type");
  }
  return fail(event,
              element + " is not summed in the declared order \"" + std::string(name(request_.ranks[0].order)) + "\"");
}

// -- at the end
// --------------------------------------------------------------------------------------------------------

Status SymbolicRun::check_all_finished() const {
  std::string stuck;
  int first = -1;
  for (int rank = 0; rank < n_; ++rank) {
    if (is_finished(rank)) continue;
    const Action& action = actor(rank).schedule->actions[actor(rank).next];
    if (action.kind != ActionKind::kSend && is_finished(action.peer)) {
      return fail(next_event(rank), "waits for ever: rank " + std::to_string(action.peer) + " has finished without " +
                                        (action.kind == ActionKind::kReceive ? "sending this message" : "this signal"));
    }
    if (first < 0) first = rank;
    stuck += (stuck.empty() ? "" : "; ") + text_of(next_event(rank));
  }
  if (first < 0) return {};
  return {
      Code::kInvalidArgument,
      "deadlock with " + std::to_string(actor(first).schedule->slots) + " slots, these wait for one another: " + stuck,
      {.rank = first}};
}

Status SymbolicRun::check_all_received() const {
  for (const Message& message : messages_) {
    if (message.received_at == 0) return fail(message.sent, "nobody receives this message");
  }
  return {};
}

}  // namespace rondo::comm
