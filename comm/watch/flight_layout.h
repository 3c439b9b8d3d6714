/// Layout 2 of a flight recorder's memory, shared by its writer and its readers: words of 64 bits, little-endian.
///
///   header   128 words    who, and what happened to the rank as a whole
///   groups   64 x 16      a table: id, name, progress
///   records  1024 x 16    a ring: one collective each
///   stacks   4096 words   text: where its threads are, or were when it crashed (stack_writer.h)
///
/// Every word is an atomic: a reader in another process may look at any time. A group and a record carry a version
/// (their word 0), odd while their identity is being written; state, times and position change alone, a word each.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "rondo/comm/flight.h"

namespace rondo::comm::flight {

using Word = std::atomic<uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

inline constexpr uint64_t kMagic = 0x31544847'4C464E52;  // "RNFLGHT1"
inline constexpr uint32_t kLayout = 2;
inline constexpr size_t kHeaderWords = 128, kGroupWords = 16, kRecordWords = 16, kGroups = 64;

/// Words of the header. Pairs of 32 bits: the first in the low half.
enum HeaderWord : size_t {
  kMagicWord = 0,     // written last
  kLayoutWord = 1,    // layout, header bytes
  kRecordsWord = 2,   // bytes of a record, records
  kGroupsWord = 3,    // bytes of a group, groups
  kPlaceWord = 4,     // rank, world size
  kProcessWord = 5,   // pid, generation
  kJobWord = 6,       // 2 words
  kHostWord = 8,      // 8 words of text
  kOpenedWord = 16,   // monotonic
  kTakenWord = 17,    // monotonic; of copies only
  kNextWord = 24,     // records ever claimed; a cache line of its own
  kBeatWord = 32,     // of the keeper
  kAlarmedWord = 33,  // by the keeper
  kFormingSinceWord = 34,
  kFormingWord = 36,  // 8 words of text
  kEndWord = 48,      // 0 none, 1 being written, 2 there
  kEndCodeWord = 49,  // code, culprit
  kEndSizeWord = 50,  // reporter, bytes of text
  kEndTimeWord = 51,
  kEndTextWord = 52,         // 64 words
  kStacksSignalWord = 116,   // what the stacks are of: the signal of a crash, or USR2; 0: none
  kStacksBytesWord = 117,    // of text; may exceed what there is room for
  kStacksAnswersWord = 118,  // threads that have answered USR2 so far
};
inline constexpr size_t kNameWords = 8, kEndTextWords = 64;

enum GroupWord : size_t {
  kGroupVersion = 0,
  kGroupId = 1,
  kGroupPlace = 2,  // rank, world size
  kGroupState = 3,  // 0 open, else 1 + code; culprit
  kGroupFormed = 4,
  kGroupEnded = 5,
  kGroupCalled = 6,
  kGroupFinished = 7,
  kGroupName = 8,  // 8 words
};

enum RecordWord : size_t {
  kVersion = 0,  // 2 * ordinal + 1 while being written, then + 2
  kGroup = 1,
  kSequence = 2,
  kCount = 3,
  kCalled = 4,
  kStarted = 5,
  kEnded = 6,
  kState = 7,       // state, code: 8 bits each; ordinal: 48 bits, so that a late writer cannot mark another's record
  kPosition = 8,    // hop, hops: 16 bits each; peer: 32 bits
  kShape = 9,       // kind, dtype, op, bytes of the tag: 8 bits each; root: 32 bits
  kAlgorithm = 10,  // 2 words of text
  kTag = 12,        // 4 words of text
};
inline constexpr size_t kAlgorithmBytes = 16, kTagBytes = 32;

inline constexpr size_t kGroupsAt = kHeaderWords;
inline constexpr size_t kRecordsAt = kGroupsAt + kGroups * kGroupWords;
inline constexpr size_t kStacksAt = kRecordsAt + kFlightRecords * kRecordWords;
inline constexpr size_t kStacksWords = 4096, kStacksBytes = kStacksWords * sizeof(Word);
inline constexpr size_t kWords = kStacksAt + kStacksWords;
static_assert(kWords * sizeof(Word) == kFlightBytes);
static_assert(kEndTextWord + kEndTextWords <= kStacksSignalWord && kStacksAnswersWord < kHeaderWords &&
              kFormingWord + kNameWords <= kEndWord);

constexpr uint64_t pair(uint32_t low, uint32_t high) { return low | uint64_t{high} << 32; }
constexpr uint64_t pair(int32_t low, int32_t high) {
  return pair(static_cast<uint32_t>(low), static_cast<uint32_t>(high));
}
constexpr int32_t low(uint64_t word) { return static_cast<int32_t>(word & 0xffffffff); }
constexpr int32_t high(uint64_t word) { return static_cast<int32_t>(word >> 32); }

constexpr uint64_t state_word(FlightState state, Code code, uint64_t ordinal) {
  return static_cast<uint64_t>(state) | static_cast<uint64_t>(code) << 8 | ordinal << 16;
}
constexpr uint64_t version_of(uint64_t ordinal) { return 2 * ordinal + 2; }
constexpr uint64_t ordinal_of(uint64_t version) { return version / 2 - 1; }

}  // namespace rondo::comm::flight
