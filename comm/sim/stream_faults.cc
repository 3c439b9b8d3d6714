#include "comm/sim/stream_faults.h"

#include <algorithm>
#include <array>
#include <utility>

namespace rondo::comm {
namespace {

constexpr uint64_t kBlockBytes = 64;
constexpr std::array kOfReads{FaultKind::kShort, FaultKind::kAgain};
constexpr std::array kOfWrites{FaultKind::kShort, FaultKind::kAgain, FaultKind::kDelay, FaultKind::kFlip,
                               FaultKind::kMute,  FaultKind::kDrop,  FaultKind::kKill};

std::span<const FaultKind> kinds_of(Act act) {
  return act == Act::kRead ? std::span<const FaultKind>(kOfReads) : std::span<const FaultKind>(kOfWrites);
}

}  // namespace

StreamFaults::StreamFaults(std::shared_ptr<Injector> injector, FaultPoint where)
    : injector_(std::move(injector)), where_(where) {}

bool StreamFaults::any_strikes(uint64_t block) const {
  FaultPoint there = where_;
  there.nth = block;
  const auto kinds = kinds_of(where_.act);
  return std::any_of(kinds.begin(), kinds.end(), [&](FaultKind kind) { return injector_->would_strike(kind, there); });
}

void StreamFaults::enter(uint64_t block) {
  entered_ = block;
  where_.nth = block;
  for (const FaultKind kind : kinds_of(where_.act)) {
    if (!injector_->strikes(kind, where_)) continue;
    if (kind == FaultKind::kShort) short_calls_ = injector_->draw_calls(kind, where_);
    if (kind == FaultKind::kAgain) blocked_calls_ = injector_->draw_calls(kind, where_);
    if (kind == FaultKind::kDelay) delay_ = injector_->draw_duration(kind, where_);
    if (kind == FaultKind::kMute) muted_ = true;
    if (kind == FaultKind::kDrop) resets_ = true;
    if (kind == FaultKind::kKill) kills_ = true;
    if (kind == FaultKind::kFlip) {
      const uint64_t drawn = injector_->draw(kind, where_, kBlockBytes * 255);
      changed_byte_ = block * kBlockBytes + drawn % kBlockBytes;
      mask_ = static_cast<std::byte>(1 + drawn / kBlockBytes);
    }
  }
}

StreamFaults::Verdict StreamFaults::look(uint64_t offset, size_t byte_count) {
  Verdict verdict;
  if (injector_ == nullptr || byte_count == 0) return verdict;
  const uint64_t block = offset / kBlockBytes;
  if (offset % kBlockBytes == 0 && block != entered_) enter(block);
  if (kills_) return {.call = Verdict::Call::kKills};
  if (resets_) return {.call = Verdict::Call::kResets};
  if (blocked_calls_ > 0) {
    --blocked_calls_;
    return {.call = Verdict::Call::kBlocks};
  }
  verdict.delay = std::exchange(delay_, Duration(0));
  if (short_calls_ > 0) {
    --short_calls_;
    verdict.byte_most = 1;
    return verdict;
  }
  // A call ends before the next block that something strikes.
  for (uint64_t next = block + 1; next * kBlockBytes < offset + byte_count; ++next) {
    if (!any_strikes(next)) continue;
    verdict.byte_most = static_cast<size_t>(next * kBlockBytes - offset);
    break;
  }
  return verdict;
}

void StreamFaults::change(uint64_t offset, std::span<std::byte> bytes) {
  if (changed_byte_ < offset || changed_byte_ - offset >= bytes.size()) return;
  bytes[changed_byte_ - offset] ^= mask_;
  changed_byte_ = kNone;
}

}  // namespace rondo::comm
