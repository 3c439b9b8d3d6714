/// What goes wrong in one direction at one end of a simulated stream: asked before every read or write.
///
/// A stream is cut into blocks of 64 bytes; each block is one chance for every kind of fault, and a fault strikes when
/// its block is reached, exactly there. Threading: one thread, the world's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>

#include "comm/sim/injector.h"

namespace rondo::comm {

class StreamFaults {
 public:
  /// `where`: rank, peer, act (kRead or kWrite) and the connection's number among those of the pair.
  StreamFaults(std::shared_ptr<Injector> injector, FaultPoint where);

  struct Verdict {
    enum class Call : uint8_t { kGoes, kBlocks, kResets, kKills } call = Call::kGoes;
    size_t byte_most = std::numeric_limits<size_t>::max();  // of this call
    Duration delay{0};                                      // of the bytes written by this call
  };
  /// What happens to a call at byte `offset` of the stream that could move `byte_count` bytes.
  Verdict look(uint64_t offset, size_t byte_count);
  /// Changes those of `bytes`, which begin at byte `offset` of the stream, that were drawn to change.
  void change(uint64_t offset, std::span<std::byte> bytes);
  /// From here on what is written never arrives.
  bool muted() const { return muted_; }

 private:
  static constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
  void enter(uint64_t block);
  bool any_strikes(uint64_t block) const;

  const std::shared_ptr<Injector> injector_;  // shared with the world; null: nothing ever goes wrong
  FaultPoint where_;
  uint64_t entered_ = kNone;  // block
  int blocked_calls_ = 0;
  int short_calls_ = 0;
  bool resets_ = false;
  bool kills_ = false;
  bool muted_ = false;
  Duration delay_{0};
  uint64_t changed_byte_ = kNone;
  std::byte mask_{};
};

}  // namespace rondo::comm
