#include "comm/watch/flight_recorder.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "comm/watch/stack_writer.h"
#include "rondo/comm/memory.h"

namespace rondo::comm {
namespace {

Status failed(const std::string& what, const std::string& path) {
  const bool full = errno == ENOSPC || errno == EMFILE || errno == ENOMEM;
  return {full ? Code::kResource : Code::kIo,
          "cannot " + what + " " + path + ": " + std::strerror(errno),
          {.operation = "opening the flight recorder"}};
}

/// A file with room on its disk for all of it, so that no later store can fail. It gets its name when it is whole, and
/// another run's file of that name stays as it is for whoever maps it.
Result<FlightRecorder::Memory> map_file(const std::string& run_directory, int rank) {
  const std::string folder = run_directory + "/flight";
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return failed("make the folder", folder);
  char name[32];
  std::snprintf(name, sizeof name, "/rank-%04d.bin", rank);
  const std::string path = folder + name, part = path + ".part";
  const int file = ::open(part.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file < 0) return failed("write", part);
  errno = ::posix_fallocate(file, 0, static_cast<off_t>(kFlightBytes));
  void* data = MAP_FAILED;
  if (errno == 0) data = ::mmap(nullptr, kFlightBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (data == MAP_FAILED || ::rename(part.c_str(), path.c_str()) != 0) {
    Status why = failed("map", part);
    ::close(file);
    ::unlink(part.c_str());
    if (data != MAP_FAILED) ::munmap(data, kFlightBytes);
    return why;
  }
  ::close(file);
  return FlightRecorder::Memory(static_cast<std::byte*>(data),
                                [](std::byte* mapped) { ::munmap(mapped, kFlightBytes); });
}

Result<FlightRecorder::Memory> map_region(Result<Region> region) {
  RONDO_TRY(region);
  const auto kept = std::make_shared<Region>(*std::move(region));  // shared with nobody: a function must be copyable
  return FlightRecorder::Memory(kept->bytes().data(), [kept](std::byte*) {});
}

Result<FlightRecorder::Memory> find_memory(const FlightOptions& options) {
  if (options.descriptor >= 0) return map_region(Region::adopt(options.descriptor, kFlightBytes));
  if (!options.run_directory.empty()) return map_file(options.run_directory, options.at.rank);
  return map_region(Region::allocate(kFlightBytes, "the flight recorder"));
}

/// Fills `count` words with text, cut to fit, padded with zeros.
void put_text(flight::Word* words, size_t count, std::string_view text) {
  for (size_t i = 0; i < count; ++i) {
    uint64_t word = 0;
    const size_t at = i * sizeof(word);
    if (at < text.size()) std::memcpy(&word, text.data() + at, std::min(sizeof(word), text.size() - at));
    words[i].store(word, std::memory_order_release);
  }
}

}  // namespace

Result<std::shared_ptr<FlightRecorder>> open_flight_recorder(const FlightOptions& options) {
  auto memory = find_memory(options);
  RONDO_TRY(memory);
  auto recorder = std::make_shared<FlightRecorder>(*std::move(memory), options);
  if (options.stacks == FlightOptions::Stacks::kOn) write_stacks_into(recorder);
  return recorder;
}

FlightRecorder::FlightRecorder(Memory memory, const FlightOptions& options) : memory_(std::move(memory)) {
  flight::Word* const header = words();
  const auto put = [header](size_t word, uint64_t value) { header[word].store(value, std::memory_order_relaxed); };
  put(flight::kLayoutWord, flight::pair(flight::kLayout, uint32_t{flight::kHeaderWords * sizeof(flight::Word)}));
  put(flight::kRecordsWord,
      flight::pair(uint32_t{flight::kRecordWords * sizeof(flight::Word)}, uint32_t{kFlightRecords}));
  put(flight::kGroupsWord,
      flight::pair(uint32_t{flight::kGroupWords * sizeof(flight::Word)}, uint32_t{flight::kGroups}));
  put(flight::kPlaceWord, flight::pair(options.at.rank, options.at.world_size));
  put(flight::kProcessWord, flight::pair(static_cast<uint32_t>(::getpid()), options.generation));
  put_text(header + flight::kJobWord, 2,
           {reinterpret_cast<const char*>(options.job.bytes.data()), options.job.bytes.size()});
  std::array<char, 64> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) put_text(header + flight::kHostWord, 8, host.data());
  put(flight::kOpenedWord, flight_time(Clock::now()));
  header[flight::kMagicWord].store(flight::kMagic, std::memory_order_release);
}

FlightLane FlightRecorder::lane(const LaneOptions& options, TimePoint now) {
  const MutexLock lock(mutex_);
  flight::Word* place = nullptr;
  for (size_t i = 0; i < flight::kGroups; ++i) {
    flight::Word* const group = words() + flight::kGroupsAt + i * flight::kGroupWords;
    if (group[flight::kGroupVersion].load(std::memory_order_relaxed) == 0) {
      place = group;
      break;
    }
    const bool open = group[flight::kGroupState].load(std::memory_order_acquire) == 0;
    const auto ended = [](const flight::Word* of) { return of[flight::kGroupEnded].load(std::memory_order_relaxed); };
    if (!open && (place == nullptr || ended(group) < ended(place))) place = group;
  }
  FlightLane lane;
  lane.words_ = words();
  lane.spare_ = spare_.data();
  lane.group_ = place != nullptr ? place : spare_.data();
  lane.id_ = options.id;
  if (place == nullptr) return lane;  // 64 groups live: this one's collectives are recorded without its name
  const uint64_t version = place[flight::kGroupVersion].load(std::memory_order_relaxed);
  place[flight::kGroupVersion].store(version + 1, std::memory_order_relaxed);
  const auto put = [place](size_t word, uint64_t value) { place[word].store(value, std::memory_order_release); };
  put(flight::kGroupId, options.id);
  put(flight::kGroupPlace, flight::pair(options.at.rank, options.at.world_size));
  put(flight::kGroupState, 0);
  put(flight::kGroupFormed, flight_time(now));
  put(flight::kGroupEnded, 0);
  put(flight::kGroupCalled, 0);
  put(flight::kGroupFinished, 0);
  put_text(place + flight::kGroupName, flight::kNameWords, options.name);
  place[flight::kGroupVersion].store(version + 2, std::memory_order_release);
  return lane;
}

void FlightRecorder::forming(std::string_view name, TimePoint now) {
  put_text(words() + flight::kFormingWord, flight::kNameWords, name);
  words()[flight::kFormingSinceWord].store(flight_time(now), std::memory_order_release);
}

void FlightRecorder::alarmed(TimePoint now) {
  uint64_t never = 0;
  words()[flight::kAlarmedWord].compare_exchange_strong(never, flight_time(now), std::memory_order_relaxed);
}

void FlightRecorder::ended(const Flight::Ending& ending) {
  uint64_t none = 0;
  flight::Word* const header = words();
  if (!header[flight::kEndWord].compare_exchange_strong(none, 1, std::memory_order_relaxed)) return;
  const auto bytes = std::min(ending.text.size(), flight::kEndTextWords * sizeof(flight::Word));
  header[flight::kEndCodeWord].store(flight::pair(static_cast<int32_t>(ending.code), ending.culprit),
                                     std::memory_order_relaxed);
  header[flight::kEndSizeWord].store(flight::pair(ending.reporter, static_cast<int32_t>(bytes)),
                                     std::memory_order_relaxed);
  header[flight::kEndTimeWord].store(ending.at_ns, std::memory_order_relaxed);
  put_text(header + flight::kEndTextWord, flight::kEndTextWords, ending.text);
  header[flight::kEndWord].store(2, std::memory_order_release);
}

}  // namespace rondo::comm
