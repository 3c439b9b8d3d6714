/// Reads flight records, also while they are being written: a copy word by word, kept when the version did not move.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "comm/base/hex.h"
#include "comm/watch/flight_layout.h"
#include "comm/watch/flight_recorder.h"
#include "rondo/comm/flight.h"

namespace rondo::comm {
namespace {

using flight::high;
using flight::low;
using flight::Word;

/// The bytes as words; null when they do not lie like them.
const Word* words_in(std::span<const std::byte> memory) {
  if (memory.size() != kFlightBytes || reinterpret_cast<uintptr_t>(memory.data()) % alignof(Word) != 0) return nullptr;
  return reinterpret_cast<const Word*>(memory.data());
}

uint64_t load(const Word* words, size_t at) { return words[at].load(std::memory_order_acquire); }

template <size_t kCount>
using Copy = std::array<uint64_t, kCount>;

/// What stands in the `kCount` words from `from`, whose first is a version. Nothing when they are never at rest:
/// somebody writes, or died while writing.
template <size_t kCount>
std::optional<Copy<kCount>> at_rest(const Word* from) {
  constexpr int kLooks = 8;
  Copy<kCount> copy{};
  for (int look = 0; look < kLooks; ++look) {
    copy[0] = load(from, 0);
    if (copy[0] % 2 != 0) continue;
    for (size_t i = 1; i < kCount; ++i) copy[i] = load(from, i);
    if (from[0].load(std::memory_order_relaxed) == copy[0]) return copy;
  }
  return std::nullopt;
}

/// Text from words, up to `byte_count` or the first zero; never half a UTF-8 character.
std::string text_of(std::span<const uint64_t> words, size_t byte_count) {
  std::string text(reinterpret_cast<const char*>(words.data()), std::min(byte_count, words.size_bytes()));
  text.resize(std::min(text.find('\0'), text.size()));
  size_t whole = text.size();
  while (whole > 0 && (static_cast<unsigned char>(text[whole - 1]) & 0xC0) == 0x80) --whole;
  if (whole > 0) {
    const auto lead = static_cast<unsigned char>(text[whole - 1]);
    const size_t wanted = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (text.size() - (whole - 1) < wanted) text.resize(whole - 1);
  }
  return text;
}

std::string header_text(const Word* header, size_t at, size_t word_count, size_t byte_count) {
  std::vector<uint64_t> words(word_count);
  for (size_t i = 0; i < word_count; ++i) words[i] = load(header, at + i);
  return text_of(words, byte_count);
}

std::optional<FlightGroup> group_of(const Copy<flight::kGroupWords>& words) {
  if (words[flight::kGroupVersion] == 0) return std::nullopt;
  const uint64_t state = words[flight::kGroupState];
  FlightGroup group{.id = words[flight::kGroupId],
                    .name = text_of(std::span(words).subspan(flight::kGroupName), flight::kNameWords * sizeof(Word)),
                    .at = {.rank = low(words[flight::kGroupPlace]), .world_size = high(words[flight::kGroupPlace])},
                    .open = state == 0,
                    .formed_ns = words[flight::kGroupFormed],
                    .ended_ns = words[flight::kGroupEnded],
                    .called = words[flight::kGroupCalled],
                    .finished = words[flight::kGroupFinished]};
  if (group.open) return group;
  group.code = static_cast<Code>(low(state) - 1);
  group.culprit = high(state);
  return group;
}

/// Nothing for a record whose state is another's: a writer was 1,024 collectives late.
std::optional<FlightRecord> record_of(const Copy<flight::kRecordWords>& words) {
  const uint64_t state = words[flight::kState], shape = words[flight::kShape], position = words[flight::kPosition];
  const auto kind = static_cast<FlightState>(state & 0xff);
  const uint64_t ordinal = flight::ordinal_of(words[flight::kVersion]);
  if (state >> 16 != (ordinal & 0xffff'ffff'ffff) || kind < FlightState::kCalled || kind > FlightState::kFailed)
    return std::nullopt;
  const auto tail = std::span(words);
  return FlightRecord{.group = words[flight::kGroup],
                      .sequence = words[flight::kSequence],
                      .kind = static_cast<CollectiveKind>(shape & 0xff),
                      .dtype = static_cast<DType>(shape >> 8 & 0xff),
                      .op = static_cast<ReduceOp>(shape >> 16 & 0xff),
                      .root = high(shape),
                      .element_count = static_cast<int64_t>(words[flight::kCount]),
                      .algorithm = text_of(tail.subspan(flight::kAlgorithm, 2), flight::kAlgorithmBytes),
                      .tag = text_of(tail.subspan(flight::kTag, 4), shape >> 24 & 0xff),
                      .state = kind,
                      .code = static_cast<Code>(state >> 8 & 0xff),
                      .called_ns = words[flight::kCalled],
                      .started_ns = words[flight::kStarted],
                      .ended_ns = words[flight::kEnded],
                      .hop = static_cast<int>(position & 0xffff),
                      .hop_count = static_cast<int>(position >> 16 & 0xffff),
                      .peer = high(position)};
}

std::optional<Flight::Stacks> stacks_of(const Word* words) {
  const uint64_t signal = load(words, flight::kStacksSignalWord);
  if (signal == 0 || signal > 64) return std::nullopt;
  const auto bytes = std::min<uint64_t>(load(words, flight::kStacksBytesWord), flight::kStacksBytes);
  return Flight::Stacks{.signal = static_cast<int>(signal),
                        .answers = load(words, flight::kStacksAnswersWord),
                        .text = header_text(words, flight::kStacksAt, flight::kStacksWords, bytes)};
}

std::optional<Flight::Ending> ending_of(const Word* header) {
  if (load(header, flight::kEndWord) != 2) return std::nullopt;
  const uint64_t code = load(header, flight::kEndCodeWord), size = load(header, flight::kEndSizeWord);
  return Flight::Ending{.code = static_cast<Code>(low(code)),
                        .culprit = high(code),
                        .reporter = low(size),
                        .at_ns = load(header, flight::kEndTimeWord),
                        .text = header_text(header, flight::kEndTextWord, flight::kEndTextWords,
                                            static_cast<size_t>(std::max(0, high(size))))};
}

}  // namespace

std::string_view name(FlightState state) {
  switch (state) {
    case FlightState::kCalled:
      return "called";
    case FlightState::kStarted:
      return "started";
    case FlightState::kFinished:
      return "finished";
    case FlightState::kFailed:
      return "failed";
  }
  return "unknown state";
}

std::string FlightRecord::describe() const {
  std::string text(name(kind));
  if (kind != CollectiveKind::kBarrier) text += " of " + std::to_string(element_count) + " " + std::string(name(dtype));
  if (kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kReduceScatter)
    text += ", " + std::string(name(op));
  if (root >= 0 && kind != CollectiveKind::kSend) text += ", root " + std::to_string(root);
  if (!tag.empty()) text += ", tag \"" + tag + "\"";
  return text;
}

const FlightGroup* Flight::group(uint64_t id) const {
  const auto found = std::find_if(groups.rbegin(), groups.rend(), [id](const auto& group) { return group.id == id; });
  return found == groups.rend() ? nullptr : &*found;
}

Result<Flight> read_flight(std::span<const std::byte> memory) {
  const Word* const words = words_in(memory);
  if (words == nullptr)
    return Status(Code::kCorrupt, "a flight record has " + std::to_string(kFlightBytes) + " bytes, not " +
                                      std::to_string(memory.size()));
  if (load(words, flight::kMagicWord) != flight::kMagic)
    return Status(Code::kCorrupt, "these bytes are no flight record: they do not start as one");
  if (low(load(words, flight::kLayoutWord)) != static_cast<int32_t>(flight::kLayout))
    return Status(Code::kCorrupt, "the flight record has layout " +
                                      std::to_string(low(load(words, flight::kLayoutWord))) +
                                      ", this build of Rondo reads layout " + std::to_string(flight::kLayout));
  const uint64_t place = load(words, flight::kPlaceWord), process = load(words, flight::kProcessWord);
  Flight flight{.at = {.rank = low(place), .world_size = high(place)},
                .pid = low(process),
                .generation = static_cast<uint32_t>(high(process)),
                .host = header_text(words, flight::kHostWord, 8, 64),
                .opened_ns = load(words, flight::kOpenedWord),
                .taken_ns = load(words, flight::kTakenWord),
                .beat_ns = load(words, flight::kBeatWord),
                .alarmed_ns = load(words, flight::kAlarmedWord),
                .ending = ending_of(words),
                .stacks = stacks_of(words)};
  const std::array<uint64_t, 2> job{load(words, flight::kJobWord), load(words, flight::kJobWord + 1)};
  flight.job = to_hex(std::as_bytes(std::span(job)));
  flight.forming_since_ns = load(words, flight::kFormingSinceWord);
  if (flight.forming_since_ns != 0) flight.forming = header_text(words, flight::kFormingWord, flight::kNameWords, 64);
  for (size_t i = 0; i < flight::kGroups; ++i) {
    const auto copy = at_rest<flight::kGroupWords>(words + flight::kGroupsAt + i * flight::kGroupWords);
    if (!copy) ++flight.torn;
    if (const auto group = copy ? group_of(*copy) : std::nullopt) flight.groups.push_back(*group);
  }
  std::stable_sort(flight.groups.begin(), flight.groups.end(),
                   [](const auto& a, const auto& b) { return a.formed_ns < b.formed_ns; });
  for (size_t i = 0; i < kFlightRecords; ++i) {
    const auto copy = at_rest<flight::kRecordWords>(words + flight::kRecordsAt + i * flight::kRecordWords);
    if (copy && (*copy)[flight::kVersion] == 0) continue;  // never used
    if (auto record = copy ? record_of(*copy) : std::nullopt) {
      flight.records.push_back(*std::move(record));
    } else {
      ++flight.torn;
    }
  }
  std::sort(flight.records.begin(), flight.records.end(), [](const FlightRecord& a, const FlightRecord& b) {
    return std::tuple(a.called_ns, a.group, a.sequence) < std::tuple(b.called_ns, b.group, b.sequence);
  });
  return flight;
}

std::vector<std::byte> take_flight(std::span<const std::byte> memory, TimePoint now) {
  const Word* const words = words_in(memory);
  if (words == nullptr || load(words, flight::kMagicWord) != flight::kMagic) return {};
  std::vector<std::byte> taken(kFlightBytes);
  const auto put = [&taken](size_t at, uint64_t word) {
    std::memcpy(taken.data() + at * sizeof(word), &word, sizeof(word));
  };
  const auto put_part = [&]<size_t kCount>(size_t at, std::optional<Copy<kCount>> copy) {
    // One that was never at rest keeps an odd version: readers count it as torn.
    for (size_t i = 0; i < kCount; ++i) put(at + i, copy ? (*copy)[i] : i == 0 ? 1 : 0);
  };
  for (size_t i = 0; i < flight::kHeaderWords; ++i) put(i, load(words, i));
  for (size_t i = 0; i < flight::kGroups; ++i) {
    const size_t at = flight::kGroupsAt + i * flight::kGroupWords;
    put_part(at, at_rest<flight::kGroupWords>(words + at));
  }
  for (size_t i = 0; i < kFlightRecords; ++i) {
    const size_t at = flight::kRecordsAt + i * flight::kRecordWords;
    put_part(at, at_rest<flight::kRecordWords>(words + at));
  }
  for (size_t i = 0; i < flight::kStacksWords; ++i) put(flight::kStacksAt + i, load(words, flight::kStacksAt + i));
  put(flight::kTakenWord, flight_time(now));
  return taken;
}

}  // namespace rondo::comm
