#include "comm/transport/pipes.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace rondo::comm {
namespace {

// Of users' regions and of staging there are others.
constexpr uint64_t kPipesRegion = ~uint64_t{0} - 1;

}  // namespace

/// What goes before a payload.
struct Pipes::Note {
  uint64_t length;
  uint64_t sequence;
  double weight;
  uint32_t segment;
  uint32_t hop;
  uint64_t kind;
};

/// Counters count bytes from the start, never back; a byte's place is its number modulo kRingBytes. Sequentially
/// consistent stores: see Note [No lost bell] in job_page.h.
struct alignas(128) Pipes::Ring {
  std::atomic<uint64_t> written;
  std::atomic<uint32_t> left;  // the writer writes nothing more
  alignas(128) std::atomic<uint64_t> read;
  std::atomic<uint64_t> taken;  // messages
  alignas(128) std::array<std::byte, kRingBytes> bytes;

  size_t room() const {
    return kRingBytes -
           static_cast<size_t>(written.load(std::memory_order_relaxed) - read.load(std::memory_order_acquire));
  }
  size_t waiting() const {
    return static_cast<size_t>(written.load(std::memory_order_acquire) - read.load(std::memory_order_relaxed));
  }
  /// Behind what is written; the caller publishes it.
  void put(uint64_t at, std::span<const std::byte> from) {
    const size_t begin = at % kRingBytes;
    const size_t first = std::min(from.size(), kRingBytes - begin);
    std::copy_n(from.begin(), first, bytes.begin() + static_cast<std::ptrdiff_t>(begin));
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(first), from.size() - first, bytes.begin());
  }
  void get(uint64_t at, std::span<std::byte> into) const {
    const size_t begin = at % kRingBytes;
    const size_t first = std::min(into.size(), kRingBytes - begin);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin), first, into.begin());
    std::copy_n(bytes.begin(), into.size() - first, into.begin() + static_cast<std::ptrdiff_t>(first));
  }
};

Result<std::unique_ptr<Pipes>> Pipes::open(PipesOptions options) {
  auto own = Region::allocate(sizeof(Ring) * options.neighbours.size(), "messages to the ranks of this host");
  RONDO_TRY(own);
  return std::unique_ptr<Pipes>(new Pipes(std::move(options), *std::move(own)));
}

Pipes::Pipes(PipesOptions options, Region own)
    : options_(std::move(options)), own_(std::move(own)), neighbours_(options_.neighbours.size()) {
  for (size_t i = 0; i < neighbours_.size(); ++i) {
    neighbours_[i].rank = options_.neighbours[i];
    neighbours_[i].out = std::launder(reinterpret_cast<Ring*>(own_.bytes().data())) + i;  // fresh memory is zero
  }
}

Pipes::~Pipes() { options_.post->forget(options_.group); }

int Pipes::index_of(int peer) const {
  const auto found = std::ranges::lower_bound(options_.neighbours, peer);
  if (found == options_.neighbours.end() || *found != peer) return -1;
  return static_cast<int>(found - options_.neighbours.begin());
}

Where Pipes::where(const Neighbour& neighbour) const {
  return {.rank = options_.job_ranks[static_cast<size_t>(options_.rank)],
          .peer = options_.job_ranks[static_cast<size_t>(neighbour.rank)]};
}

void Pipes::ring_bell(const Neighbour& neighbour) const { options_.page->ring(where(neighbour).peer); }

SendTicket Pipes::send(int peer, const MessageHeader& header, std::span<const std::byte> payload) {
  Neighbour& neighbour = at(peer);
  neighbour.queue.push_back({header, payload});
  moved_ |= write_some(neighbour);
  return ++neighbour.queued;
}

uint64_t Pipes::sends_done(int peer) const { return at(peer).out->taken.load(std::memory_order_acquire); }
uint64_t Pipes::sends_released(int peer) const { return at(peer).released; }

bool Pipes::write_some(Neighbour& neighbour) {
  Ring& ring = *neighbour.out;
  const uint64_t begin = ring.written.load(std::memory_order_relaxed);
  uint64_t end = begin;
  size_t room = ring.room();
  while (!neighbour.queue.empty() && room > 0) {
    Outgoing& next = neighbour.queue.front();
    if (next.written == 0) {
      if (room < sizeof(Note)) break;  // a note goes as a whole
      const Note note{.length = next.payload.size(),
                      .sequence = next.header.sequence,
                      .weight = next.header.weight,
                      .segment = next.header.segment,
                      .hop = next.header.hop,
                      .kind = static_cast<uint64_t>(next.header.kind)};
      ring.put(end, std::as_bytes(std::span(&note, 1)));
      next.written = sizeof note;
      end += sizeof note;
      room -= sizeof note;
    }
    const auto rest = next.payload.subspan(next.written - sizeof(Note));
    const auto part = rest.first(std::min(rest.size(), room));
    ring.put(end, part);
    next.written += part.size();
    end += part.size();
    room -= part.size();
    if (part.size() < rest.size()) break;
    neighbour.queue.pop_front();
    ++neighbour.released;
  }
  if (end == begin) return false;
  ring.written.store(end);
  ring_bell(neighbour);
  return true;
}

Status Pipes::meet(Neighbour& neighbour) {
  const Where both = where(neighbour);
  if (!neighbour.posted) {
    const Status status = options_.post->post(options_.mailboxes[static_cast<size_t>(neighbour.rank)], both.peer,
                                              {.group = options_.group, .from = both.rank, .id = kPipesRegion}, own_);
    if (!status.ok() && !status.is_pending()) return status.at(both);
    neighbour.posted = status.ok();  // else its mailbox is full: later
  }
  if (neighbour.in != nullptr) return {};
  auto taken = options_.post->take({.group = options_.group, .from = both.peer, .id = kPipesRegion});
  if (!taken.ok()) return taken.status().at(both);
  if (!taken->has_value()) return {};
  if ((*taken)->bytes().size() != sizeof(Ring) * neighbours_.size())
    return {Code::kCorrupt, "the memory for messages has another size on the other side", both};
  neighbour.memory = std::move(**taken);
  neighbour.in = std::launder(reinterpret_cast<Ring*>(neighbour.memory.bytes().data())) + index_of(options_.rank);
  moved_ = true;
  return {};
}

Result<Progress> Pipes::progress() {
  for (Neighbour& neighbour : neighbours_) {
    if (neighbour.rank == options_.rank) continue;
    if (!neighbour.posted || neighbour.in == nullptr) RONDO_TRY(meet(neighbour));
    moved_ |= write_some(neighbour);
  }
  return std::exchange(moved_, false) ? Progress::kProgressed : Progress::kBlocked;
}

Result<std::optional<MessageHeader>> Pipes::receive(int peer, std::span<std::byte> into) {
  Neighbour& neighbour = at(peer);
  if (neighbour.in == nullptr) return std::optional<MessageHeader>();
  Ring& ring = *neighbour.in;
  const bool left = ring.left.load(std::memory_order_acquire) != 0;
  const uint64_t begin = ring.read.load(std::memory_order_relaxed);
  uint64_t end = begin;
  size_t waiting = ring.waiting();
  if (!neighbour.arriving && waiting >= sizeof(Note)) {
    Note note{};
    ring.get(end, std::as_writable_bytes(std::span(&note, 1)));
    end += sizeof note;
    waiting -= sizeof note;
    neighbour.arriving = MessageHeader{.kind = static_cast<MessageKind>(note.kind),
                                       .sequence = note.sequence,
                                       .segment = note.segment,
                                       .hop = note.hop,
                                       .weight = note.weight};
    neighbour.length = note.length;
    neighbour.received = 0;
  }
  if (!neighbour.arriving) {
    if (!left) return std::optional<MessageHeader>();
    return Status(Code::kClosed, "rank " + std::to_string(where(neighbour).peer) + " left the group in order",
                  where(neighbour));
  }
  if (neighbour.length != into.size())
    return Status(Code::kMismatch,
                  "a message of " + std::to_string(neighbour.length) + " bytes came where " +
                      std::to_string(into.size()) + " were expected",
                  where(neighbour));
  const size_t part = std::min(waiting, into.size() - static_cast<size_t>(neighbour.received));
  ring.get(end, into.subspan(static_cast<size_t>(neighbour.received), part));
  neighbour.received += part;
  end += part;
  if (end == begin) return std::optional<MessageHeader>();
  const bool whole = neighbour.received == neighbour.length;
  ring.read.store(end);
  if (whole) ring.taken.store(ring.taken.load(std::memory_order_relaxed) + 1);
  ring_bell(neighbour);
  moved_ = true;
  return whole ? std::exchange(neighbour.arriving, std::nullopt) : std::optional<MessageHeader>();
}

Status Pipes::goodbye() {
  for (Neighbour& neighbour : neighbours_) {
    if (neighbour.rank == options_.rank) continue;
    write_some(neighbour);
    if (!neighbour.queue.empty()) return Status::pending();
    // A neighbour that is gone needs nothing more.
    if (neighbour.queued > 0 && !neighbour.posted && meet(neighbour).ok() && !neighbour.posted)
      return Status::pending();
  }
  for (Neighbour& neighbour : neighbours_) {
    neighbour.out->left.store(1);
    if (neighbour.rank != options_.rank) ring_bell(neighbour);
  }
  return {};
}

}  // namespace rondo::comm
