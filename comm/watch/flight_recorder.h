/// Writes a rank's flight record (rondo/comm/flight.h): three handles, from the endpoint down to one collective.
///
///   FlightRecorder   one per endpoint; owns the mapping
///   FlightLane       one per group, under the group's lock: called() begins a record
///   FlightNote       one per collective, under the same lock: started(), blocked(), finished(), failed()
///
/// It stands on the hot path of collectives of 200 ns: plain stores, no allocation, no system call, no clock of its own
/// (callers pass the time that they have), and one locked instruction per 16 collectives. An empty lane or note does
/// nothing: fake ranks have no recorder.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "comm/watch/flight_layout.h"
#include "rondo/comm/flight.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {

/// A short text in two words, as it lies in memory; made once and kept where that is possible.
struct FlightName {
  FlightName() = default;
  explicit constexpr FlightName(std::string_view text) {
    for (size_t i = 0; i < std::min(text.size(), flight::kAlgorithmBytes); ++i)
      words[i / 8] |= uint64_t{static_cast<unsigned char>(text[i])} << (8 * (i % 8));
  }
  std::array<uint64_t, 2> words{};
};

/// What a collective is, in terms of the recorder. `tag` is copied.
struct FlightCall {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  int32_t root = -1;
  int64_t element_count = 0;
  FlightName algorithm;
  std::string_view tag;
};

/// Hop `hop` of `hop_count`, waiting for `peer` (a rank of the job; -1: for nobody in particular).
struct FlightPosition {
  uint16_t hop = 0, hop_count = 0;
  int32_t peer = -1;
};

inline uint64_t flight_time(TimePoint at) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
}

class FlightNote {
 public:
  FlightNote() = default;
  void started(TimePoint now) const {
    if (!mine()) return;
    record_[flight::kStarted].store(flight_time(now), std::memory_order_relaxed);
    mark(FlightState::kStarted, Code::kOk);
  }
  void blocked(FlightPosition at) const {
    if (!mine()) return;
    record_[flight::kPosition].store(
        uint64_t{at.hop} | uint64_t{at.hop_count} << 16 | uint64_t{static_cast<uint32_t>(at.peer)} << 32,
        std::memory_order_relaxed);
  }
  void finished(TimePoint now) const {
    if (group_ == nullptr) return;
    auto& finished = group_[flight::kGroupFinished];
    finished.store(finished.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (!mine()) return;
    record_[flight::kEnded].store(flight_time(now), std::memory_order_relaxed);
    mark(FlightState::kFinished, Code::kOk);
  }
  void failed(Code code, TimePoint now) const {
    if (!mine()) return;
    record_[flight::kEnded].store(flight_time(now), std::memory_order_relaxed);
    mark(FlightState::kFailed, code);
  }

 private:
  friend class FlightLane;
  /// False when 1,024 later collectives have taken the record's place.
  bool mine() const {
    return record_ != nullptr &&
           record_[flight::kVersion].load(std::memory_order_relaxed) == flight::version_of(ordinal_);
  }
  void mark(FlightState state, Code code) const {
    record_[flight::kState].store(flight::state_word(state, code, ordinal_), std::memory_order_release);
  }

  flight::Word* record_ = nullptr;
  flight::Word* group_ = nullptr;
  uint64_t ordinal_ = 0;
};

class FlightLane {
 public:
  FlightLane() = default;
  /// Begins a record. The lane's group must be called in order. It leaves none where another thread has been writing
  /// one for so long that the ring came round.
  FlightNote called(const FlightCall& call, uint64_t sequence, TimePoint now);
  /// The group ended; calls that come later are recorded, too, but no longer counted for it.
  void ended(Code code, int culprit, TimePoint now);

 private:
  friend class FlightRecorder;
  uint64_t claim();

  flight::Word* words_ = nullptr;  // the recorder's memory; null: no recorder
  flight::Word* group_ = nullptr;
  flight::Word* spare_ = nullptr;  // takes what belongs to no group
  uint64_t id_ = 0;
  uint64_t next_ = 0, end_ = 0;  // claimed places in the ring
  uint64_t batch_ = 1;           // to claim next; grows, so that a group of few calls leaves no gaps
};

class FlightRecorder {
 public:
  /// kFlightBytes of zeros, and how to give them back.
  using Memory = std::unique_ptr<std::byte, std::function<void(std::byte*)>>;
  FlightRecorder(Memory memory, const FlightOptions& options);

  /// A place in the table of groups: a free one, else that of the group that ended first. Any thread.
  struct LaneOptions {
    uint64_t id = 0;
    std::string name;
    Position at;
  };
  FlightLane lane(const LaneOptions& options, TimePoint now) RONDO_EXCLUDES(mutex_);

  /// A group creation begins. Formation is one at a time on an endpoint.
  void forming(std::string_view name, TimePoint now);
  /// It is over, either way.
  void formed() { words()[flight::kFormingSinceWord].store(0, std::memory_order_release); }
  /// The keeper's: it runs, and it saw an abort.
  void beat(TimePoint now) { words()[flight::kBeatWord].store(flight_time(now), std::memory_order_relaxed); }
  void alarmed(TimePoint now);
  /// Why waits of this rank end. The first stays. Any thread.
  void ended(const Flight::Ending& ending);

  std::span<const std::byte> bytes() const { return {memory_.get(), kFlightBytes}; }
  /// The memory as the stack writer's handlers use it.
  flight::Word* stacks() const { return words(); }

 private:
  flight::Word* words() const { return reinterpret_cast<flight::Word*>(memory_.get()); }

  const Memory memory_;
  std::array<flight::Word, flight::kGroupWords> spare_{};
  Mutex mutex_;  // guards the choice of a place in the table of groups
};

inline uint64_t FlightLane::claim() {
  constexpr uint64_t kLargestBatch = 16;
  auto& claimed = words_[flight::kNextWord];
  // A batch that has lain for long is given up: its places in the ring are those of younger records by now.
  if (next_ == end_ || claimed.load(std::memory_order_relaxed) - next_ > kFlightRecords / 2) {
    next_ = claimed.fetch_add(batch_, std::memory_order_relaxed);
    end_ = next_ + batch_;
    batch_ = std::min(2 * batch_, kLargestBatch);
  }
  return next_++;
}

inline FlightNote FlightLane::called(const FlightCall& call, uint64_t sequence, TimePoint now) {
  if (words_ == nullptr) return {};
  const uint64_t ordinal = claim();
  flight::Word* const record = words_ + flight::kRecordsAt + ordinal % kFlightRecords * flight::kRecordWords;
  const flight::Word* const following =
      words_ + flight::kRecordsAt + (ordinal + 1) % kFlightRecords * flight::kRecordWords;
  __builtin_prefetch(following, 1);
  __builtin_prefetch(following + flight::kRecordWords / 2, 1);
  // Released one by one, so that a reader that sees one of them also sees that the version is odd.
  const auto put = [record](size_t word, uint64_t value) { record[word].store(value, std::memory_order_release); };
  auto& count = group_[flight::kGroupCalled];
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  FlightNote note;
  note.group_ = group_;
  // A thread that stood still for a whole round of the ring may still be at this place, or be this one.
  uint64_t version = record[flight::kVersion].load(std::memory_order_relaxed);
  const uint64_t mine = flight::version_of(ordinal);
  if (version % 2 != 0 || version >= mine ||
      !record[flight::kVersion].compare_exchange_strong(version, mine - 1, std::memory_order_relaxed)) {
    return note;
  }
  put(flight::kGroup, id_);
  put(flight::kSequence, sequence);
  put(flight::kCount, static_cast<uint64_t>(call.element_count));
  put(flight::kCalled, flight_time(now));
  put(flight::kStarted, 0);
  put(flight::kEnded, 0);
  put(flight::kState, flight::state_word(FlightState::kCalled, Code::kOk, ordinal));
  put(flight::kPosition, flight::pair(0, -1));
  const size_t tag_bytes = std::min(call.tag.size(), flight::kTagBytes);
  put(flight::kShape, static_cast<uint64_t>(call.kind) | static_cast<uint64_t>(call.dtype) << 8 |
                          static_cast<uint64_t>(call.op) << 16 | uint64_t{tag_bytes} << 24 |
                          uint64_t{static_cast<uint32_t>(call.root)} << 32);
  put(flight::kAlgorithm, call.algorithm.words[0]);
  put(flight::kAlgorithm + 1, call.algorithm.words[1]);
  if (tag_bytes != 0) {
    std::array<uint64_t, flight::kTagBytes / sizeof(uint64_t)> tag{};
    std::memcpy(tag.data(), call.tag.data(), tag_bytes);
    for (size_t i = 0; i < tag.size(); ++i) put(flight::kTag + i, tag[i]);
  }
  record[flight::kVersion].store(mine, std::memory_order_release);
  note.record_ = record;
  note.ordinal_ = ordinal;
  return note;
}

inline void FlightLane::ended(Code code, int culprit, TimePoint now) {
  if (words_ == nullptr) return;
  group_[flight::kGroupEnded].store(flight_time(now), std::memory_order_relaxed);
  group_[flight::kGroupState].store(flight::pair(1 + static_cast<int32_t>(code), culprit), std::memory_order_release);
  group_ = spare_;  // its place may go to another group from now on
}

}  // namespace rondo::comm
