/// What happened in a simulated world, in order, as one number: two runs of the same seed must agree on it.
///
/// Threading: one thread at a time.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace rondo::comm {

/// Mixes the bits of one number well (the finalizer of SplitMix64).
constexpr uint64_t mix_bits(uint64_t bits) {
  bits += 0x9E3779B97F4A7C15;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
  return bits ^ (bits >> 31);
}

/// One number for several, in this order.
constexpr uint64_t hash_words(std::initializer_list<uint64_t> words) {
  uint64_t hash = 0;
  for (const uint64_t word : words) hash = mix_bits(hash ^ word);
  return hash;
}

/// What kind of event a note tells of; its first word.
enum class Event : uint64_t {
  kTurn = 1,
  kTime,
  kBytesWritten,
  kBytesRead,
  kMessageSent,
  kMessageTaken,
  kFault,
  kDeath
};

class Trace {
 public:
  void note(Event event, std::initializer_list<uint64_t> words) {
    hash_ = mix_bits(hash_ ^ static_cast<uint64_t>(event));
    for (const uint64_t word : words) hash_ = mix_bits(hash_ ^ word);
    ++event_count_;
  }
  uint64_t hash() const { return hash_; }
  uint64_t event_count() const { return event_count_; }

 private:
  uint64_t hash_ = 0;
  uint64_t event_count_ = 0;
};

}  // namespace rondo::comm
