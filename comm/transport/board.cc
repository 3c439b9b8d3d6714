#include "comm/transport/board.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace rondo::comm {
namespace {

constexpr uint64_t kMagic = 0x324452414f424e52;  // "RNBOARD2"
constexpr size_t kSlots = 2;

struct TagText {
  uint64_t length;
  std::array<char, Board::kTagBytes> text;
};

}  // namespace

struct alignas(64) Board::SignalOut {
  std::atomic<uint64_t> value;
  std::atomic<double> weight;
};

struct alignas(128) Board::Layout {
  uint64_t magic;
  uint64_t byte_count;
  CpuShare cpus;
  std::atomic<uint64_t> left;  // 1: this rank posts nothing more
  std::array<Line, kLines> lines;
  std::array<TagText, kLines> tags;
  alignas(128) std::array<std::array<std::byte, kSlotBytes>, kSlots> slots;
  // One SignalOut for each rank of the group follows.
};

size_t Board::byte_count(int rank_count) {
  // Other builds may map it: sizes and places are part of the format.
  static_assert(sizeof(Line) == 128 && offsetof(Line, entry) == 16 && offsetof(Line, payload) == 72);
  static_assert(sizeof(Layout) % alignof(SignalOut) == 0);
  return sizeof(Layout) + sizeof(SignalOut) * static_cast<size_t>(rank_count);
}

Board::Board(BoardOptions options, Region own)
    : options_(std::move(options)),
      memory_(options_.job_ranks.size()),
      layouts_(options_.job_ranks.size()),
      lines_(options_.job_ranks.size()) {
  std::byte* bytes = own.bytes().data();
  auto* layout = new (bytes) Layout{};
  for (size_t i = 0; i < options_.job_ranks.size(); ++i)
    new (bytes + sizeof(Layout) + i * sizeof(SignalOut)) SignalOut{};
  layout->byte_count = own.bytes().size();
  layout->cpus = own_cpu_share(system_files());
  layout->magic = kMagic;
  use(options_.rank, std::move(own));
}

void Board::use(int rank, Region memory) {
  const auto index = static_cast<size_t>(rank);
  layouts_[index] = std::launder(reinterpret_cast<Layout*>(memory.bytes().data()));
  lines_[index] = layouts_[index]->lines.data();
  memory_[index] = std::move(memory);
  if (std::count(layouts_.begin(), layouts_.end(), nullptr) > 0) return;
  std::vector<CpuShare> shares;
  for (const Layout* layout : layouts_) shares.push_back(layout->cpus);
  spins_ = may_spin(shares);
}

Status Board::attach(int peer, Region memory) {
  const size_t expected = byte_count(rank_count());
  const auto* layout = reinterpret_cast<const Layout*>(memory.bytes().data());
  if (memory.bytes().size() != expected || layout->magic != kMagic || layout->byte_count != expected) {
    return {Code::kCorrupt,
            "the flag lines of rank " + std::to_string(options_.job_ranks[static_cast<size_t>(peer)]) + " have " +
                std::to_string(memory.bytes().size()) + " bytes where " + std::to_string(expected) +
                " belong; do all ranks run the same build of Rondo?",
            {.peer = options_.job_ranks[static_cast<size_t>(peer)]}};
  }
  use(peer, std::move(memory));
  return {};
}

void Board::ring_all() {
  for (int peer = 0; peer < rank_count(); ++peer) {
    if (peer != options_.rank) options_.page->ring(options_.job_ranks[static_cast<size_t>(peer)]);
  }
}

void Board::post(uint64_t sequence, std::string_view tag) {
  Line& mine = own_line(sequence);
  TagText& text = layouts_[static_cast<size_t>(options_.rank)]->tags[sequence % kLines];
  text.length = std::min(tag.size(), kTagBytes);
  if (text.length > 0) std::memcpy(text.text.data(), tag.data(), text.length);
  mine.phase.store(0, std::memory_order_relaxed);
  mine.stamp.store(sequence + 1);
  ring_all();
}

void Board::set_phase(uint64_t sequence, uint64_t phase) {
  own_line(sequence).phase.store(phase);
  ring_all();
}

void Board::leave() {
  layouts_[static_cast<size_t>(options_.rank)]->left.store(1);
  ring_all();
}

bool Board::left_before(int peer, uint64_t sequence) const {
  // In this order: what a rank posted before it left is seen by whoever sees that it left.
  return attached(peer) && layouts_[static_cast<size_t>(peer)]->left.load() != 0 && !entered(peer, sequence);
}

std::string Board::tag(int peer, uint64_t sequence) const {
  const TagText& text = layouts_[static_cast<size_t>(peer)]->tags[sequence % kLines];
  return {text.text.data(), std::min<size_t>(text.length, kTagBytes)};
}

std::span<std::byte> Board::slot_of(int peer, uint64_t sequence) const {
  return layouts_[static_cast<size_t>(peer)]->slots[sequence % kSlots];
}

Board::SignalOut& Board::signal_out(int owner, int peer) const {
  auto* first = reinterpret_cast<std::byte*>(layouts_[static_cast<size_t>(owner)]) + sizeof(Layout);
  return std::launder(reinterpret_cast<SignalOut*>(first))[peer];
}

void Board::raise_signal(int peer, uint64_t value, double weight) {
  SignalOut& out = signal_out(options_.rank, peer);
  out.weight.store(weight, std::memory_order_relaxed);
  out.value.store(value);
  options_.page->ring(options_.job_ranks[static_cast<size_t>(peer)]);
}

Board::Signal Board::signal_from(int peer) const {
  if (!attached(peer)) return {};
  const SignalOut& in = signal_out(peer, options_.rank);
  const uint64_t value = in.value.load(std::memory_order_acquire);
  return {value, in.weight.load(std::memory_order_relaxed)};
}

}  // namespace rondo::comm
