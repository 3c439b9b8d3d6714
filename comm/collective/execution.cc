#include "comm/collective/execution.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/collective/entrance.h"
#include "comm/kernels/kernels.h"

namespace rondo::comm {
namespace {

// One call of advance() moves about this much, so that a hook is never held up for long.
constexpr size_t kBytesPerTurn = 1u << 20;

size_t bytes_of(const Action& action, size_t width) {
  size_t elements = 0;
  for (const Place& place : action.to) elements += static_cast<size_t>(place.range.count());
  for (const Place& place : action.from) elements += static_cast<size_t>(place.range.count());
  return elements * width;
}

}  // namespace

Execution::Execution(std::shared_ptr<const Schedule> schedule, Binding binding, Descriptor descriptor)
    : schedule_(std::move(schedule)),
      binding_(std::move(binding)),
      descriptor_(std::move(descriptor)),
      peers_(static_cast<size_t>(schedule_->at.world_size)) {}

std::string Execution::phase() const {
  if (next_ >= schedule_->actions.size()) return "end";
  return "hop " + std::to_string(schedule_->actions[next_].hop + 1) + " of " + std::to_string(schedule_->hop_count);
}

uint16_t Execution::hop() const {
  const auto& actions = schedule_->actions;
  return next_ >= actions.size() ? hop_count() : static_cast<uint16_t>(std::min(actions[next_].hop + 1, UINT16_MAX));
}

Progress Execution::fail(Status status) {
  status_ = std::move(status);
  return Progress::kFailed;
}

Progress Execution::blocked_on(int peer) {
  waits_for_ = peer;
  return Progress::kBlocked;
}

bool Execution::start(const Turn& turn) {
  started_ = true;
  mine_ = encode(descriptor_);
  const size_t memory = scratch_bytes() + static_cast<size_t>(schedule_->wire_elements) * byte_width(binding_.wire);
  if (turn.scratch.size() < memory) turn.scratch.resize(memory);
  if (Board* board = turn.transport.board()) {
    post_entry(*board, descriptor_, binding_.weight);
    return true;
  }
  for (const int peer : schedule_->sends_to) {
    const auto ticket = turn.transport.send(
        peer, {.kind = MessageKind::kDescriptor, .sequence = descriptor_.sequence, .weight = binding_.weight}, mine_);
    if (!ticket.ok()) {
      status_ = ticket.status();
      return false;
    }
    Peer& state = peers_[static_cast<size_t>(peer)];
    state.descriptor_ticket = state.last_ticket = *ticket;
  }
  return true;
}

Progress Execution::enter(const Board& board) {
  for (; entered_ < schedule_->at.world_size; ++entered_) {
    if (entered_ == schedule_->at.rank) continue;
    Status met = meet_at(board, descriptor_, schedule_->at.rank, entered_, binding_.job_ranks);
    if (met.is_pending()) return blocked_on(entered_);
    if (!met.ok()) return fail(std::move(met));
    peers_[static_cast<size_t>(entered_)].descriptor_seen = true;
  }
  return Progress::kDone;
}

Progress Execution::see_descriptor(const Turn& turn, int peer) {
  Peer& state = peers_[static_cast<size_t>(peer)];
  if (state.descriptor_seen) return Progress::kDone;
  const auto got = turn.transport.receive(peer, theirs_);
  if (!got.ok()) return fail(got.status());
  if (!got->has_value()) return blocked_on(peer);
  const auto rank_of = [&](int group_rank) { return binding_.job_ranks[static_cast<size_t>(group_rank)]; };
  if ((*got)->kind != MessageKind::kDescriptor) {
    return fail(Status(Code::kCorrupt, "payload came where a descriptor belongs", {.peer = rank_of(peer)}));
  }
  if (Status fits = compare(descriptor_, theirs_, rank_of(schedule_->at.rank), rank_of(peer)); !fits.ok()) {
    return fail(std::move(fits));
  }
  state.descriptor_seen = true;
  return Progress::kDone;
}

Progress Execution::advance(const Turn& turn) {
  const auto moved = turn.transport.progress(turn.now);
  if (!moved.ok()) return fail(moved.status());
  bool acted = !started_;
  if (!started_ && !start(turn)) return Progress::kFailed;
  bool progressed = *moved == Progress::kProgressed;
  if (const Board* board = turn.transport.board()) {
    const Progress entered = enter(*board);
    if (entered == Progress::kFailed) return entered;
    if (entered == Progress::kBlocked) return progressed ? Progress::kProgressed : entered;
  }
  const size_t width = byte_width(binding_.data.dtype);
  size_t budget = kBytesPerTurn;
  while (next_ < schedule_->actions.size()) {
    const Action& action = schedule_->actions[next_];
    const Progress progress = run(turn, action);
    if (progress == Progress::kFailed) return progress;
    if (progress == Progress::kBlocked) {
      if (!acted) return progressed ? Progress::kProgressed : Progress::kBlocked;  // looked a moment ago
      // What was queued goes out now, and what has come in may be just what is missing.
      const auto again = turn.transport.progress(turn.now);
      if (!again.ok()) return fail(again.status());
      return progressed || *again == Progress::kProgressed ? Progress::kProgressed : Progress::kBlocked;
    }
    progressed = acted = true;
    ++next_;
    const size_t spent = bytes_of(action, width);
    if (spent >= budget) return Progress::kProgressed;
    budget -= spent;
  }
  Progress end = finish(turn);
  if (end == Progress::kFailed || (end == Progress::kBlocked && !acted)) return end;
  // Also when this rank is done: its peers wait for the acknowledgement of what it has just taken.
  const auto again = turn.transport.progress(turn.now);
  if (end == Progress::kDone) return end;
  if (!again.ok()) return fail(again.status());
  if (end = finish(turn); end != Progress::kBlocked) return end;  // what was queued may be out now
  return progressed || *again == Progress::kProgressed ? Progress::kProgressed : Progress::kBlocked;
}

Progress Execution::finish(const Turn& turn) {
  for (const int peer : schedule_->receives_from) {
    if (const Progress seen = see_descriptor(turn, peer); seen != Progress::kDone) return seen;
  }
  for (const int peer : schedule_->sends_to) {
    if (turn.transport.sends_released(peer) < peers_[static_cast<size_t>(peer)].last_ticket) return blocked_on(peer);
  }
  return Progress::kDone;
}

Progress Execution::run(const Turn& turn, const Action& action) {
  switch (action.kind) {
    case ActionKind::kSend:
      return run_send(turn, action);
    case ActionKind::kReceive:
      return run_receive(turn, action);
    case ActionKind::kReduce:
      return run_reduce(turn, action);
    case ActionKind::kCopy:
      return run_copy(turn, action);
    case ActionKind::kScale: {
      if (binding_.op != ReduceOp::kWeightedMean) return Progress::kDone;
      const auto to = resolve(turn, action.to[0]);
      if (!to.ok()) return fail(to.status());
      Status status = divide(binding_.data.dtype, to->data(), action.to[0].range.count(), weight_of(action.to[0]));
      return status.ok() ? Progress::kDone : fail(std::move(status));
    }
    case ActionKind::kSignal: {
      Status status = turn.transport.signal(action.peer, signal_base() + action.value, binding_.weight);
      return status.ok() ? Progress::kDone : fail(std::move(status));
    }
    case ActionKind::kWait: {
      if (const Progress seen = see_descriptor(turn, action.peer); seen != Progress::kDone) return seen;
      const auto signal = turn.transport.signal_from(action.peer);
      if (!signal.ok()) return fail(signal.status());
      if (signal->value < signal_base() + action.value) return blocked_on(action.peer);
      peers_[static_cast<size_t>(action.peer)].weight = signal->weight;
      return Progress::kDone;
    }
  }
  return fail(Status(Code::kInvalidArgument, "unknown action in a schedule"));
}

Progress Execution::run_send(const Turn& turn, const Action& action) {
  Peer& peer = peers_[static_cast<size_t>(action.peer)];
  // Tickets count all messages of the group: where descriptors are no messages, the first one of a call comes after
  // those of earlier calls.
  const uint64_t arrived = std::max(turn.transport.sends_done(action.peer), peer.descriptor_ticket);
  const uint64_t under_way = std::max(peer.last_ticket, arrived) - arrived;
  if (under_way >= static_cast<uint64_t>(schedule_->slots)) return blocked_on(action.peer);
  const auto from = resolve(turn, action.from[0]);
  if (!from.ok()) return fail(from.status());
  const auto ticket = turn.transport.send(action.peer,
                                          {.kind = MessageKind::kPayload,
                                           .sequence = descriptor_.sequence,
                                           .segment = static_cast<uint32_t>(action.segment),
                                           .hop = static_cast<uint32_t>(action.hop),
                                           .weight = weight_of(action.from[0])},
                                          *from);
  if (!ticket.ok()) return fail(ticket.status());
  peer.last_ticket = *ticket;
  return Progress::kDone;
}

Progress Execution::run_receive(const Turn& turn, const Action& action) {
  if (const Progress seen = see_descriptor(turn, action.peer); seen != Progress::kDone) return seen;
  const auto to = resolve(turn, action.to[0]);
  if (!to.ok()) return fail(to.status());
  const auto got = turn.transport.receive(action.peer, *to);
  if (!got.ok()) return fail(got.status());
  if (!got->has_value()) return blocked_on(action.peer);
  const MessageHeader& header = **got;
  if (header.kind != MessageKind::kPayload || header.sequence != descriptor_.sequence ||
      header.segment != static_cast<uint32_t>(action.segment) || header.hop != static_cast<uint32_t>(action.hop)) {
    return fail(Status(Code::kCorrupt,
                       "a message of sequence " + std::to_string(header.sequence) + ", hop " +
                           std::to_string(header.hop + 1) + ", segment " + std::to_string(header.segment) +
                           " came where sequence " + std::to_string(descriptor_.sequence) + ", hop " +
                           std::to_string(action.hop + 1) + ", segment " + std::to_string(action.segment) +
                           " was expected",
                       {.peer = binding_.job_ranks[static_cast<size_t>(action.peer)]}));
  }
  set_weight(action.to[0], header.weight);
  return Progress::kDone;
}

Result<std::span<std::byte>> Execution::resolve(const Turn& turn, const Place& place) {
  const size_t width = byte_width(place.space == Space::kWire ? binding_.wire : binding_.data.dtype);
  const size_t begin = static_cast<size_t>(place.range.begin) * width;
  const size_t bytes = static_cast<size_t>(place.range.count()) * width;
  if (bytes == 0) return std::span<std::byte>();
  switch (place.space) {
    case Space::kScratch:
      return std::span(turn.scratch).subspan(begin, bytes);
    case Space::kWire:
      return std::span(turn.scratch).subspan(scratch_bytes() + begin, bytes);
    case Space::kResult:
      return std::span(binding_.result.bytes() + begin, bytes);
    case Space::kData:
      break;
  }
  if (place.rank == schedule_->at.rank) return std::span(binding_.data.bytes() + begin, bytes);
  const auto region = turn.transport.peer_region(place.rank, binding_.region);
  RONDO_TRY(region);
  if (region->size() < binding_.offset + begin + bytes) {
    return Status(Code::kInvalidArgument, "the registered memory of the peer is smaller than the collective",
                  {.peer = binding_.job_ranks[static_cast<size_t>(place.rank)]});
  }
  return region->subspan(binding_.offset + begin, bytes);
}

size_t Execution::scratch_bytes() const {
  const size_t bytes = static_cast<size_t>(schedule_->scratch_elements) * byte_width(binding_.data.dtype);
  return (bytes + 63) / 64 * 64;  // what follows starts on a cache line
}

double Execution::weight_of(const Place& place) const {
  if (place.rank != schedule_->at.rank) return peers_[static_cast<size_t>(place.rank)].weight;
  return weights_.find(place).value_or(binding_.weight);
}

void Execution::set_weight(const Place& place, double weight) {
  if (place.rank == schedule_->at.rank) weights_.set(place, weight);
}

Progress Execution::run_reduce(const Turn& turn, const Action& action) {
  const bool mean = binding_.op == ReduceOp::kWeightedMean;
  const bool in_wire = action.to[0].space == Space::kWire;
  double weight = 0;
  operands_.clear();
  for (const Place& place : action.from) {
    if ((place.space == Space::kWire) != in_wire && binding_.wire != binding_.data.dtype) {
      return fail(Status(Code::kInvalidArgument, "a reduce action mixes wire and data elements"));
    }
    const auto bytes = resolve(turn, place);
    if (!bytes.ok()) return fail(bytes.status());
    const double of_place = weight_of(place);
    weight += of_place;
    // An operand of weight 0 contributes nothing, not even a NaN.
    operands_.push_back(mean && of_place == 0 ? nullptr : bytes->data());
  }
  targets_.clear();
  for (const Place& place : action.to) {
    const auto bytes = resolve(turn, place);
    if (!bytes.ok()) return fail(bytes.status());
    targets_.push_back(bytes->data());
    set_weight(place, weight);
  }
  const int64_t count = action.to[0].range.count();
  if (count == 0) return Progress::kDone;
  const bool partial = action.finality == Finality::kPartial;
  Status status = reduce_many({.dtype = in_wire ? binding_.wire : binding_.data.dtype,
                               .op = mean && partial ? ReduceOp::kSum : binding_.op,
                               .operands = operands_,
                               .divisor = weight,
                               .outputs = targets_,
                               .element_count = count});
  return status.ok() ? Progress::kDone : fail(std::move(status));
}

Progress Execution::run_copy(const Turn& turn, const Action& action) {
  const Place& source = action.from[0];
  const Place& target = action.to[0];
  const auto from = resolve(turn, source);
  if (!from.ok()) return fail(from.status());
  const auto to = resolve(turn, target);
  if (!to.ok()) return fail(to.status());
  set_weight(target, weight_of(source));
  if (from->empty()) return Progress::kDone;
  const bool same =
      binding_.wire == binding_.data.dtype || (source.space == Space::kWire) == (target.space == Space::kWire);
  if (same) {
    std::memmove(to->data(), from->data(), from->size());
  } else if (target.space == Space::kWire) {
    narrow(reinterpret_cast<const float*>(from->data()), binding_.wire, to->data(), target.range.count());
  } else {
    widen(binding_.wire, from->data(), reinterpret_cast<float*>(to->data()), target.range.count());
  }
  return Progress::kDone;
}

}  // namespace rondo::comm
