#include "comm/collective/fused_collective.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/collective/entrance.h"

namespace rondo::comm {
namespace {

// Elements that one advance() reduces: small enough to stay in a second-level cache and to keep hooks short.
constexpr size_t kSegmentBytes = 256 * 1024;
// A staging region holds two pieces, so that one is filled while peers still read the other.
constexpr size_t kStagingBytes = size_t{2} << 20;
constexpr int64_t kPiecesInTurn = 2;
// Up to here everybody reads all operands: one round of flags beats the fewer bytes of two.
constexpr size_t kCarriedBytes = 2 * 1024;
constexpr FlightName kFlightName("push");
// Looks at a flag before advance() gives up: about as long as a flag takes between two cores, many times over.
constexpr int kLooks = 300;

inline void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Looks until `there()`, at most as often as the ranks' processors allow.
template <typename There>
bool look(const Turn& turn, const Board& board, const There& there) {
  if (there()) return true;
  if (turn.patience != Patience::kSpin || !board.spins()) return false;
  for (int i = 0; i < kLooks; ++i) {
    pause_core();
    if (there()) return true;
  }
  return false;
}

constexpr int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

FusedCollective::FusedCollective(std::shared_ptr<GroupState> group, Call&& call)
    : CollectiveState(std::move(group)),
      call_(std::move(call)),
      kind_(call_.descriptor.kind == CollectiveKind::kSend ? CollectiveKind::kBroadcast : call_.descriptor.kind),
      rank_(this->group()->at().rank),
      ranks_(this->group()->at().world_size) {
  const auto n = static_cast<size_t>(ranks_);
  if (3 * n > few_.size()) many_.resize(3 * n);
  const std::span<std::byte*> all = many_.empty() ? std::span<std::byte*>(few_) : many_;
  peers_ = all.subspan(0, n);
  operands_ = all.subspan(n, n);
  outputs_ = all.subspan(2 * n, n);
}

Where FusedCollective::where() const {
  constexpr const char* kPhases[] = {"entry", "entry", "exchange", "exchange", "exchange", "leaving"};
  return where_of(*group(), call_.descriptor, waits_for_, kPhases[static_cast<size_t>(step_)]);
}

FlightCall FusedCollective::flight_call() const { return flight_call_of(call_.descriptor, kFlightName); }

FlightPosition FusedCollective::flight_position() const {
  const auto hop = static_cast<uint16_t>(step_ == Step::kLeave ? 2 : step_ > Step::kEntry ? 1 : 0);
  return flight_position_of(*group(), waits_for_, {.hop = hop, .hop_count = 3});
}

bool FusedCollective::carries(size_t byte_count) { return byte_count <= kCarriedBytes; }

Progress FusedCollective::fail(Status status) {
  status_ = std::move(status);
  return Progress::kFailed;
}

Progress FusedCollective::blocked_on(int peer) {
  waits_for_ = peer;
  return Progress::kBlocked;
}

Progress FusedCollective::advance(const Turn& turn) {
  Board& board = *turn.transport.board();
  Progress progress = Progress::kDone;
  if (step_ == Step::kPost) post(board);
  if (step_ == Step::kEntry) progress = enter(turn, board);
  if (progress != Progress::kBlocked && progress != Progress::kFailed) {
    switch (step_) {
      case Step::kPost:
      case Step::kEntry:
        break;
      case Step::kCarried:
        return carried(board);
      case Step::kRegistered:
        progress = registered(turn, board);
        break;
      case Step::kStaged:
        progress = staged(turn, board);
        break;
      case Step::kLeave:
        progress = leave(turn, board);
        break;
    }
  }
  if (progress != Progress::kBlocked) return progress;
  // Peers may wait for boards, regions or acknowledgements of messages.
  const auto moved = turn.transport.progress(turn.now);
  if (!moved.ok()) return fail(moved.status());
  return *moved;
}

// --- entry.

void FusedCollective::post(Board& board) {
  const size_t bytes = call_.data.byte_count();
  const bool hands_in = kind() != CollectiveKind::kBarrier && (kind() != CollectiveKind::kBroadcast || is_root());
  if (bytes > 0 && hands_in && bytes <= Board::kInlineBytes) {
    std::memcpy(board.inline_payload(sequence()).data(), call_.data.data, bytes);
  } else if (bytes > 0 && hands_in && bytes <= kCarriedBytes) {
    std::memcpy(board.slot(sequence()).data(), call_.data.data, bytes);
  }
  post_entry(board, call_.descriptor, call_.weight);
  step_ = Step::kEntry;
}

Progress FusedCollective::enter(const Turn& turn, const Board& board) {
  for (; peer_ < ranks_; ++peer_) {
    if (peer_ == rank_) continue;
    (void)look(turn, board, [&] { return board.entered(peer_, sequence()); });
    Status met = meet_at(board, call_.descriptor, rank_, peer_, group()->identity().job_ranks);
    if (met.is_pending()) return blocked_on(peer_);
    if (!met.ok()) return fail(std::move(met));
  }
  waits_for_ = -1;
  peer_ = 0;
  if (call_.descriptor.op == ReduceOp::kWeightedMean) {
    for (int rank = 0; rank < ranks_; ++rank) total_weight_ += board.entry(rank, sequence()).weight;
  }
  step_ = way(board);
  return Progress::kDone;
}

FusedCollective::Step FusedCollective::way(const Board& board) {
  if (carries(call_.data.byte_count())) return Step::kCarried;
  const auto& given = board.entry(kind() == CollectiveKind::kBroadcast ? call_.descriptor.root : 0, sequence());
  bool registered = given.region != 0;
  for (int rank = 0; rank < ranks_ && kind() != CollectiveKind::kBroadcast; ++rank) {
    const BoardEntry& entry = board.entry(rank, sequence());
    registered = registered && entry.region == given.region;
  }
  return registered ? Step::kRegistered : Step::kStaged;
}

// --- the arithmetic.

FusedCollective::Slice FusedCollective::Slice::part(int64_t index, int64_t length) const {
  const int64_t first = std::min(count, index * length);
  return {.begin = begin + first, .count = std::min(length, count - first)};
}

FusedCollective::Slice FusedCollective::slice_of(int rank) const {
  const int64_t count = call_.data.element_count;
  int64_t each = divided_up(count, ranks_);
  if (kind() != CollectiveKind::kReduceScatter) {  // borders between owners on borders of cache lines
    const auto line = static_cast<int64_t>(64 / width());
    each = divided_up(each, line) * line;
  }
  const int64_t begin = std::min(count, rank * each);
  return {.begin = begin, .count = std::min(each, count - begin)};
}

void FusedCollective::hand_out(const std::byte* from, std::byte* to, size_t bytes) const {
  copy_bytes(from, to, bytes, call_.stores);
}

Status FusedCollective::reduce_to(const Outputs& outputs, int64_t count) {
  const std::span<const std::byte* const> operands(const_cast<const std::byte* const*>(operands_.data()),
                                                   operands_.size());
  return reduce_many({.dtype = call_.data.dtype,
                      .op = call_.descriptor.op,
                      .operands = operands,
                      .divisor = total_weight_,
                      .outputs = outputs.all,
                      .element_count = count,
                      .stores = call_.stores,
                      .plain_outputs = outputs.own});
}

// --- carried: everybody reads all.

Progress FusedCollective::carried(const Board& board) {
  const size_t bytes = call_.data.byte_count();
  if (bytes == 0 || kind() == CollectiveKind::kBarrier) return Progress::kDone;
  const bool on_line = bytes <= Board::kInlineBytes;
  const auto operand = [&](int rank) {
    return on_line ? board.inline_payload(rank, sequence()) : board.slot_of(rank, sequence()).data();
  };
  switch (kind()) {
    case CollectiveKind::kBroadcast:
      if (!is_root()) std::memcpy(call_.output.data, operand(call_.descriptor.root), bytes);
      return Progress::kDone;
    case CollectiveKind::kAllGather:
      for (int rank = 0; rank < ranks_; ++rank) {
        std::memcpy(call_.output.bytes() + bytes * static_cast<size_t>(rank), operand(rank), bytes);
      }
      return Progress::kDone;
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kBarrier:
    case CollectiveKind::kSend:
      break;
  }
  const bool scatters = kind() == CollectiveKind::kReduceScatter;
  const Slice mine = scatters ? slice_of(rank_) : Slice{0, call_.data.element_count};
  for (int rank = 0; rank < ranks_; ++rank) {
    const bool skipped = call_.descriptor.op == ReduceOp::kWeightedMean && board.entry(rank, sequence()).weight == 0;
    const std::byte* from = operand(rank) + static_cast<size_t>(mine.begin) * width();
    operands_[static_cast<size_t>(rank)] = skipped ? nullptr : const_cast<std::byte*>(from);
  }
  std::byte* const outputs[] = {call_.output.bytes()};
  Status status = reduce_to({.all = outputs, .own = 1}, mine.count);
  return status.ok() ? Progress::kDone : fail(std::move(status));
}

// --- registered: the owner of a slice serves all.

Progress FusedCollective::find_peers(const Turn& turn, const Board& board) {
  for (; peer_ < ranks_; ++peer_) {
    const bool needed = kind() != CollectiveKind::kBroadcast || peer_ == call_.descriptor.root;
    std::byte*& found = peers_[static_cast<size_t>(peer_)];
    if (!needed || peer_ == rank_) {
      found = kind() == CollectiveKind::kAllGather ? call_.output.bytes() : call_.data.bytes();
      continue;
    }
    const BoardEntry& entry = board.entry(peer_, sequence());
    const auto region = turn.transport.peer_region(peer_, entry.region);
    if (!region.ok()) return fail(region.status());
    if (region->empty()) return blocked_on(peer_);
    const size_t bytes = kind() == CollectiveKind::kAllGather ? call_.output.byte_count() : call_.data.byte_count();
    if (entry.offset > region->size() || region->size() - entry.offset < bytes) {
      return fail(Status(Code::kInvalidArgument, "the registered memory of the peer is smaller than the collective",
                         {.peer = group()->job_rank(peer_)}));
    }
    found = region->data() + entry.offset;
  }
  peer_ = 0;
  part_ = 1;
  return Progress::kDone;
}

Status FusedCollective::move_segment(Slice segment) {
  const size_t at = static_cast<size_t>(segment.begin) * width();
  const size_t bytes = static_cast<size_t>(segment.count) * width();
  switch (kind()) {
    case CollectiveKind::kBroadcast:
      if (!is_root()) std::memcpy(out(segment.begin), peers_[static_cast<size_t>(call_.descriptor.root)] + at, bytes);
      return {};
    case CollectiveKind::kAllGather:
      for (std::byte* peer : peers_) {
        std::byte* to = peer + call_.data.byte_count() * static_cast<size_t>(rank_) + at;
        if (to != in(segment.begin)) hand_out(in(segment.begin), to, bytes);
      }
      return {};
    default:
      break;
  }
  for (size_t rank = 0; rank < peers_.size(); ++rank) {
    if (operands_[rank] != nullptr) operands_[rank] = peers_[rank] + at;
    outputs_[rank] = peers_[rank] + at;
  }
  if (kind() == CollectiveKind::kAllReduce) return reduce_to({.all = outputs_}, segment.count);
  std::byte* const outputs[] = {out(segment.begin - slice_of(rank_).begin)};
  return reduce_to({.all = outputs, .own = 1}, segment.count);
}

Progress FusedCollective::registered(const Turn& turn, Board& board) {
  if (part_ == 0) {
    if (const Progress found = find_peers(turn, board); found != Progress::kDone) return found;
    for (int rank = 0; rank < ranks_; ++rank) {  // marks who is left out
      const bool skipped = call_.descriptor.op == ReduceOp::kWeightedMean && board.entry(rank, sequence()).weight == 0;
      operands_[static_cast<size_t>(rank)] = skipped ? nullptr : peers_[static_cast<size_t>(rank)];
    }
  }
  const bool shared_out = kind() == CollectiveKind::kAllReduce || kind() == CollectiveKind::kReduceScatter;
  const Slice mine = shared_out ? slice_of(rank_) : Slice{0, call_.data.element_count};
  const auto length = static_cast<int64_t>(kSegmentBytes / width());
  const Slice segment{.begin = mine.begin + done_, .count = std::min(length, mine.count - done_)};
  if (segment.count > 0) {
    if (Status status = move_segment(segment); !status.ok()) return fail(std::move(status));
    done_ += segment.count;
    if (done_ < mine.count) return Progress::kProgressed;
  }
  board.set_phase(sequence(), 1);
  step_ = Step::kLeave;
  return leave(turn, board);
}

bool FusedCollective::all_reached(const Turn& turn, const Board& board, uint64_t phase) {
  for (; peer_ < ranks_; ++peer_) {
    if (peer_ == rank_) continue;
    if (!look(turn, board, [&] { return board.phase(peer_, sequence()) >= phase; })) return false;
  }
  peer_ = 0;
  return true;
}

Progress FusedCollective::leave(const Turn& turn, const Board& board) {
  return all_reached(turn, board, 1) ? Progress::kDone : blocked_on(peer_);
}

// --- staged: piece by piece through memory that peers can read.
//
// Phase 2k + 1: my operands of piece k are staged; 2k + 2: what I own of it is reduced, staged and taken. A buffer is
// filled again two pieces later: by then all have passed a phase that they reach only after they have read it.

int64_t FusedCollective::staged_elements() const {
  const size_t each = kStagingBytes / static_cast<size_t>(kPiecesInTurn) / static_cast<size_t>(ranks_) / 64 * 64;
  return static_cast<int64_t>(std::max<size_t>(each / width(), 1));
}

std::byte* FusedCollective::staging(int rank, int64_t piece, int slice) const {
  const auto block = static_cast<size_t>(staged_elements()) * width();
  const size_t index = static_cast<size_t>(piece % kPiecesInTurn) * static_cast<size_t>(ranks_);
  return peers_[static_cast<size_t>(rank)] + (index + static_cast<size_t>(slice)) * block;
}

Progress FusedCollective::find_staging(const Turn& turn) {
  const bool broadcasts = kind() == CollectiveKind::kBroadcast;  // through the root's alone
  if (turn.staging.empty() && (!broadcasts || is_root())) {
    const auto wanted = static_cast<size_t>(ranks_) * 64 * static_cast<size_t>(kPiecesInTurn);
    auto region = Region::allocate(std::max(kStagingBytes, wanted),
                                   "staging of group \"" + group()->identity().options.name + "\"");
    if (!region.ok()) return fail(region.status());
    if (Status status = turn.transport.expose(kStagingRegion, *region); !status.ok()) return fail(std::move(status));
    turn.staging = std::move(*region);
  }
  for (; peer_ < ranks_; ++peer_) {
    if (broadcasts && peer_ != call_.descriptor.root) continue;
    if (peer_ == rank_) {
      peers_[static_cast<size_t>(peer_)] = turn.staging.bytes().data();
      continue;
    }
    const auto region = turn.transport.peer_region(peer_, kStagingRegion);
    if (!region.ok()) return fail(region.status());
    if (region->empty()) return blocked_on(peer_);
    peers_[static_cast<size_t>(peer_)] = region->data();
  }
  peer_ = 0;
  part_ = 1;
  return Progress::kDone;
}

Progress FusedCollective::staged(const Turn& turn, Board& board) {
  if (part_ == 0) {
    if (const Progress found = find_staging(turn); found != Progress::kDone) return found;
  }
  switch (kind()) {
    case CollectiveKind::kBroadcast:
      return staged_broadcast(turn, board);
    case CollectiveKind::kAllGather:
      return staged_gather(turn, board);
    default:
      return staged_reduce(turn, board);
  }
}

Progress FusedCollective::staged_reduce(const Turn& turn, Board& board) {
  const bool scatters = kind() == CollectiveKind::kReduceScatter;
  const int64_t length = staged_elements();
  const int64_t pieces = divided_up(slice_of(0).count, length);
  const auto phase = static_cast<uint64_t>(2 * done_);
  const Slice mine = slice_of(rank_).part(done_, length);
  if (part_ == 1) {
    for (int owner = 0; owner < ranks_; ++owner) {
      const Slice theirs = slice_of(owner).part(done_, length);
      if (owner == rank_ || theirs.count == 0) continue;
      hand_out(in(theirs.begin), staging(rank_, done_, owner), static_cast<size_t>(theirs.count) * width());
    }
    board.set_phase(sequence(), phase + 1);
    part_ = 2;
  }
  if (part_ == 2) {
    if (!all_reached(turn, board, phase + 1)) return blocked_on(peer_);
    for (int rank = 0; rank < ranks_; ++rank) {
      const bool skipped = call_.descriptor.op == ReduceOp::kWeightedMean && board.entry(rank, sequence()).weight == 0;
      std::byte* from = rank == rank_ ? in(mine.begin) : staging(rank, done_, rank_);
      operands_[static_cast<size_t>(rank)] = skipped ? nullptr : from;
    }
    std::byte* result = scatters ? out(mine.begin - slice_of(rank_).begin) : out(mine.begin);
    std::byte* const outputs[] = {staging(rank_, done_, rank_), result};
    Status status;
    if (mine.count > 0) status = reduce_to({.all = std::span(outputs).subspan(scatters ? 1 : 0), .own = 1}, mine.count);
    if (!status.ok()) return fail(std::move(status));
    board.set_phase(sequence(), phase + 2);
    part_ = 3;
  }
  for (; !scatters && peer_ < ranks_; ++peer_) {
    const Slice theirs = slice_of(peer_).part(done_, length);
    if (peer_ == rank_ || theirs.count == 0) continue;
    if (!look(turn, board, [&] { return board.phase(peer_, sequence()) >= phase + 2; })) return blocked_on(peer_);
    std::memcpy(out(theirs.begin), staging(peer_, done_, peer_), static_cast<size_t>(theirs.count) * width());
  }
  peer_ = 0;
  part_ = 1;
  return ++done_ < pieces ? Progress::kProgressed : Progress::kDone;
}

Progress FusedCollective::staged_gather(const Turn& turn, Board& board) {
  const int64_t length = staged_elements();
  const Slice all{.begin = 0, .count = call_.data.element_count};
  const Slice piece = all.part(done_, length);
  const size_t bytes = static_cast<size_t>(piece.count) * width();
  const auto phase = static_cast<uint64_t>(done_ + 1);
  if (part_ == 1) {
    hand_out(in(piece.begin), staging(rank_, done_, 0), bytes);
    board.set_phase(sequence(), phase);
    part_ = 2;
  }
  for (; peer_ < ranks_; ++peer_) {
    std::byte* to = out(call_.data.element_count * peer_ + piece.begin);
    if (peer_ == rank_) {
      if (to != in(piece.begin)) std::memcpy(to, in(piece.begin), bytes);
      continue;
    }
    if (!look(turn, board, [&] { return board.phase(peer_, sequence()) >= phase; })) return blocked_on(peer_);
    std::memcpy(to, staging(peer_, done_, 0), bytes);
  }
  peer_ = 0;
  part_ = 1;
  return ++done_ < divided_up(all.count, length) ? Progress::kProgressed : Progress::kDone;
}

Progress FusedCollective::staged_broadcast(const Turn& turn, Board& board) {
  const int root = call_.descriptor.root;
  const int64_t length = staged_elements();
  const Slice all{.begin = 0, .count = call_.data.element_count};
  const Slice piece = all.part(done_, length);
  const size_t bytes = static_cast<size_t>(piece.count) * width();
  const auto phase = static_cast<uint64_t>(done_ + 1);
  if (is_root()) {
    // The piece that lay there before must have been taken by all.
    if (done_ >= kPiecesInTurn && !all_reached(turn, board, phase - static_cast<uint64_t>(kPiecesInTurn))) {
      return blocked_on(peer_);
    }
    hand_out(in(piece.begin), staging(rank_, done_, 0), bytes);
  } else {
    if (!look(turn, board, [&] { return board.phase(root, sequence()) >= phase; })) return blocked_on(root);
    std::memcpy(out(piece.begin), staging(root, done_, 0), bytes);
  }
  board.set_phase(sequence(), phase);
  return ++done_ < divided_up(all.count, length) ? Progress::kProgressed : Progress::kDone;
}

}  // namespace rondo::comm
