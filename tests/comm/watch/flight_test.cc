#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "comm/watch/flight_recorder.h"
#include "rondo/comm/memory.h"
#include "tests/support/descriptors.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

TimePoint at(int64_t nanoseconds) { return TimePoint(std::chrono::nanoseconds(nanoseconds)); }

/// A recorder over memory that the test holds, too, as the agent does.
struct Held {
  Region region;
  std::shared_ptr<FlightRecorder> recorder;
  Flight read() const {
    auto flight = read_flight(region.bytes());
    EXPECT_TRUE(flight.ok()) << flight.status().text();
    return flight.ok() ? *std::move(flight) : Flight{};
  }
};

Held hold(FlightOptions options = {.at = {.rank = 2, .world_size = 4}, .generation = 3}) {
  Held held;
  auto region = Region::allocate(kFlightBytes, "a test's flight recorder");
  EXPECT_TRUE(region.ok()) << region.status().text();
  held.region = *std::move(region);
  options.descriptor = ::dup(held.region.descriptor());
  auto recorder = open_flight_recorder(options);
  EXPECT_TRUE(recorder.ok()) << recorder.status().text();
  held.recorder = *std::move(recorder);
  return held;
}

/// Call `i` of a group, different in every field.
FlightCall call(uint64_t i, std::string_view tag) {
  return {.kind = static_cast<CollectiveKind>(1 + i % 4),
          .dtype = static_cast<DType>(i % 7),
          .op = static_cast<ReduceOp>(i % 5),
          .root = static_cast<int32_t>(i % 3) - 1,
          .element_count = static_cast<int64_t>(i * 1'000'003),
          .algorithm = FlightName(i % 2 == 0 ? "ring" : "parameter-server"),
          .tag = tag};
}

TEST(Flight, TellsWhoseItIs) {
  JobId job;
  job.bytes[0] = std::byte{0xab};
  const Held held = hold({.at = {.rank = 2, .world_size = 4}, .generation = 3, .job = job});
  const Flight flight = held.read();
  EXPECT_EQ(flight.at, (Position{.rank = 2, .world_size = 4}));
  EXPECT_EQ(flight.pid, ::getpid());
  EXPECT_EQ(flight.generation, 3u);
  EXPECT_EQ(flight.job, job.hex());
  EXPECT_FALSE(flight.host.empty());
  EXPECT_GT(flight.opened_ns, 0u);
  EXPECT_EQ(flight.taken_ns, 0u);
  EXPECT_TRUE(flight.groups.empty());
  EXPECT_TRUE(flight.records.empty());
  EXPECT_FALSE(flight.ending);
}

TEST(Flight, FollowsACollectiveThroughItsLife) {
  Held held = hold();
  FlightLane lane = held.recorder->lane({.id = 77, .name = "world", .at = {.rank = 1, .world_size = 3}}, at(500));
  const FlightNote note = lane.called(call(5, "bucket 4"), 811, at(1000));
  const auto only = [&] {
    const Flight flight = held.read();
    EXPECT_EQ(flight.records.size(), 1u);
    return flight.records.at(0);
  };
  FlightRecord record = only();
  EXPECT_EQ(record.group, 77u);
  EXPECT_EQ(record.sequence, 811u);
  EXPECT_EQ(record.kind, CollectiveKind::kBroadcast);
  EXPECT_EQ(record.dtype, DType::kInt64);
  EXPECT_EQ(record.op, ReduceOp::kSum);
  EXPECT_EQ(record.root, 1);
  EXPECT_EQ(record.element_count, 5'000'015);
  EXPECT_EQ(record.algorithm, "parameter-server");
  EXPECT_EQ(record.tag, "bucket 4");
  EXPECT_EQ(record.state, FlightState::kCalled);
  EXPECT_EQ(record.called_ns, 1000u);
  EXPECT_EQ(record.started_ns, 0u);
  EXPECT_TRUE(record.under_way());
  EXPECT_EQ(record.describe(), "broadcast of 5000015 int64, root 1, tag \"bucket 4\"");

  note.started(at(2000));
  note.blocked({.hop = 2, .hop_count = 6, .peer = 3});
  record = only();
  EXPECT_EQ(record.state, FlightState::kStarted);
  EXPECT_EQ(record.started_ns, 2000u);
  EXPECT_EQ(record.hop, 2);
  EXPECT_EQ(record.hop_count, 6);
  EXPECT_EQ(record.peer, 3);

  note.finished(at(3000));
  record = only();
  EXPECT_EQ(record.state, FlightState::kFinished);
  EXPECT_EQ(record.ended_ns, 3000u);
  EXPECT_FALSE(record.under_way());

  EXPECT_EQ((FlightRecord{.kind = CollectiveKind::kReduceScatter, .element_count = 6}).describe(),
            "reduce_scatter of 6 float32, sum");

  lane.called(call(6, ""), 812, at(4000)).failed(Code::kPeerLost, at(5000));
  Flight flight = held.read();
  ASSERT_EQ(flight.records.size(), 2u);
  EXPECT_EQ(flight.records[1].state, FlightState::kFailed);
  EXPECT_EQ(flight.records[1].code, Code::kPeerLost);
  EXPECT_EQ(flight.records[1].tag, "");
  ASSERT_EQ(flight.groups.size(), 1u);
  EXPECT_EQ(flight.groups[0].name, "world");
  EXPECT_EQ(flight.groups[0].at, (Position{.rank = 1, .world_size = 3}));
  EXPECT_EQ(flight.groups[0].formed_ns, 500u);
  EXPECT_EQ(flight.groups[0].called, 2u);
  EXPECT_EQ(flight.groups[0].finished, 1u);
  EXPECT_TRUE(flight.groups[0].open);

  lane.ended(Code::kPeerLost, 3, at(6000));
  flight = held.read();
  EXPECT_FALSE(flight.groups[0].open);
  EXPECT_EQ(flight.groups[0].code, Code::kPeerLost);
  EXPECT_EQ(flight.groups[0].culprit, 3);
  EXPECT_EQ(flight.groups[0].ended_ns, 6000u);
}

TEST(Flight, KeepsTheLast1024AndCountsAll) {
  Held held = hold();
  FlightLane lane = held.recorder->lane({.id = 1, .name = "world"}, at(1));
  const FlightNote first = lane.called(call(0, "first"), 0, at(1));
  for (uint64_t i = 1; i < 3000; ++i) lane.called(call(i, "t"), i, at(static_cast<int64_t>(i))).finished(at(9999));
  first.started(at(5));  // its place is another's by now
  const Flight flight = held.read();
  ASSERT_EQ(flight.records.size(), kFlightRecords);
  for (size_t i = 0; i < kFlightRecords; ++i) {
    const uint64_t sequence = 3000 - kFlightRecords + i;
    ASSERT_EQ(flight.records[i].sequence, sequence);
    ASSERT_EQ(flight.records[i].element_count, static_cast<int64_t>(sequence * 1'000'003));
    ASSERT_EQ(flight.records[i].state, FlightState::kFinished);
  }
  EXPECT_EQ(flight.groups[0].called, 3000u);
  EXPECT_EQ(flight.groups[0].finished, 2999u);
  EXPECT_EQ(flight.torn, 0);
}

TEST(Flight, KeepsWhatARareGroupDoesBesideABusyOne) {
  Held held = hold();
  FlightLane busy = held.recorder->lane({.id = 1, .name = "busy"}, at(1));
  FlightLane rare = held.recorder->lane({.id = 2, .name = "rare"}, at(2));
  for (uint64_t i = 0; i < 4000; ++i) {
    if (i % 1000 == 0) rare.called(call(i, "r"), i / 1000, at(static_cast<int64_t>(10 * i + 5)));
    busy.called(call(i, "b"), i, at(static_cast<int64_t>(10 * i))).finished(at(1));
  }
  const Flight flight = held.read();
  std::vector<uint64_t> rare_sequences, busy_sequences;
  for (const FlightRecord& record : flight.records)
    (record.group == 2 ? rare_sequences : busy_sequences).push_back(record.sequence);
  EXPECT_THAT(rare_sequences, ElementsAre(3));
  // A batch of places that one group claimed and does not use keeps older records of others alive, never fewer than
  // the last thousand minus the batches.
  ASSERT_GE(busy_sequences.size(), kFlightRecords - 32);
  EXPECT_EQ(busy_sequences.back(), 3999u);
  EXPECT_TRUE(std::is_sorted(busy_sequences.begin(), busy_sequences.end()));
  EXPECT_EQ(flight.group(2)->called, 4u);
}

TEST(Flight, CutsTextBetweenCharacters) {
  Held held = hold();
  FlightLane lane = held.recorder->lane({.id = 1, .name = std::string(63, 'g') + "ü"}, at(1));
  lane.called(call(1, std::string(31, 'x') + "ü and more"), 0, at(1));
  lane.called(call(1, std::string(30, 'x') + "ü and more"), 1, at(2));
  held.recorder->ended({.code = Code::kMismatch, .text = std::string(511, 'e') + "ü"});
  const Flight flight = held.read();
  EXPECT_EQ(flight.records[0].tag, std::string(31, 'x'));
  EXPECT_EQ(flight.records[1].tag, std::string(30, 'x') + "ü");
  EXPECT_EQ(flight.groups[0].name, std::string(63, 'g'));
  EXPECT_EQ(flight.ending->text, std::string(511, 'e'));
}

TEST(Flight, RemembersTheFirstEndAndTheKeepersView) {
  Held held = hold();
  held.recorder->forming("world", at(11));
  EXPECT_EQ(held.read().forming, "world");
  EXPECT_EQ(held.read().forming_since_ns, 11u);
  held.recorder->formed();
  EXPECT_FALSE(held.read().forming);
  held.recorder->beat(at(21));
  held.recorder->alarmed(at(31));
  held.recorder->alarmed(at(32));
  held.recorder->ended({.code = Code::kPeerLost, .culprit = 1, .reporter = 3, .at_ns = 41, .text = "rank 1 died"});
  held.recorder->ended({.code = Code::kTimeout, .culprit = 0, .reporter = 0, .at_ns = 42, .text = "later"});
  const Flight flight = held.read();
  EXPECT_EQ(flight.beat_ns, 21u);
  EXPECT_EQ(flight.alarmed_ns, 31u);
  ASSERT_TRUE(flight.ending);
  EXPECT_EQ(flight.ending->code, Code::kPeerLost);
  EXPECT_EQ(flight.ending->culprit, 1);
  EXPECT_EQ(flight.ending->reporter, 3);
  EXPECT_EQ(flight.ending->at_ns, 41u);
  EXPECT_EQ(flight.ending->text, "rank 1 died");
}

TEST(Flight, GivesThePlacesOfEndedGroupsToNewOnes) {
  Held held = hold();
  std::vector<FlightLane> live;
  for (uint64_t id = 1; id <= 200; ++id) {
    FlightLane lane =
        held.recorder->lane({.id = id, .name = "group " + std::to_string(id)}, at(static_cast<int64_t>(id)));
    if (id % 10 == 0) {
      live.push_back(lane);
    } else {
      lane.ended(Code::kClosed, -1, at(static_cast<int64_t>(1000 + id)));
    }
  }
  const Flight flight = held.read();
  ASSERT_EQ(flight.groups.size(), 64u);
  for (uint64_t id = 10; id <= 200; id += 10) {
    ASSERT_NE(flight.group(id), nullptr) << "a live group must keep its place: " << id;
    EXPECT_EQ(flight.group(id)->name, "group " + std::to_string(id));
  }
  EXPECT_NE(flight.group(199), nullptr);
  EXPECT_EQ(flight.group(1), nullptr);
}

TEST(Flight, RecordsMoreThan64LiveGroupsWithoutTheirNames) {
  Held held = hold();
  std::vector<FlightLane> lanes;
  for (uint64_t id = 1; id <= 70; ++id) lanes.push_back(held.recorder->lane({.id = id, .name = "g"}, at(1)));
  for (uint64_t i = 0; i < lanes.size(); ++i) {
    lanes[i].called(call(i, ""), i, at(static_cast<int64_t>(i))).finished(at(1000));
    lanes[i].ended(Code::kClosed, -1, at(2000));
  }
  const Flight flight = held.read();
  EXPECT_EQ(flight.records.size(), 70u);
  EXPECT_EQ(flight.groups.size(), 64u);
  EXPECT_EQ(flight.group(70), nullptr);
  for (const FlightGroup& group : flight.groups) EXPECT_EQ(group.finished, 1u);
}

TEST(Flight, AnEmptyLaneAndNoteDoNothing) {
  FlightLane lane;
  const FlightNote note = lane.called(call(1, "t"), 0, at(1));
  note.started(at(1));
  note.blocked({.hop = 1, .hop_count = 2, .peer = 0});
  note.failed(Code::kIo, at(2));
  note.finished(at(2));
  lane.ended(Code::kClosed, -1, at(3));
  Held held = hold();
  EXPECT_TRUE(held.read().records.empty());
}

TEST(Flight, IsConsistentForAReaderBesideTwoWriters) {
  Held held = hold();
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (uint64_t id = 1; id <= 2; ++id) {
    writers.emplace_back([&, id] {
      FlightLane lane = held.recorder->lane({.id = id, .name = "g" + std::to_string(id)}, at(1));
      for (uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        const FlightNote note = lane.called(call(i, "tag " + std::to_string(i)), i, at(static_cast<int64_t>(i + 1)));
        note.started(at(static_cast<int64_t>(i + 2)));
        note.finished(at(static_cast<int64_t>(i + 3)));
      }
    });
  }
  uint64_t seen = 0;
  const Deadline deadline = in_seconds(0.5);
  const auto check = [&](const Flight& flight) {
    for (const FlightRecord& record : flight.records) {
      const FlightCall expected = call(record.sequence, "");
      ASSERT_EQ(record.element_count, expected.element_count);
      ASSERT_EQ(record.kind, expected.kind);
      ASSERT_EQ(record.dtype, expected.dtype);
      ASSERT_EQ(record.root, expected.root);
      ASSERT_EQ(record.called_ns, record.sequence + 1);
      ASSERT_EQ(record.tag, "tag " + std::to_string(record.sequence));
      ASSERT_EQ(record.algorithm, record.sequence % 2 == 0 ? "ring" : "parameter-server");
    }
    seen += flight.records.size();
  };
  while (!deadline.passed(Clock::now()) && !testing::Test::HasFatalFailure()) {
    check(held.read());
    const auto taken = take_flight(held.region.bytes(), at(99));
    const auto flight = read_flight(taken);
    ASSERT_TRUE(flight.ok());
    EXPECT_EQ(flight->taken_ns, 99u);
    check(*flight);
  }
  stop.store(true);
  for (auto& writer : writers) writer.join();
  EXPECT_GT(seen, 1000u);
}

TEST(Flight, LeavesAloneAPlaceThatAnotherThreadIsStillWriting) {
  Held held = hold();
  FlightLane lane = held.recorder->lane({.id = 1, .name = "world"}, at(1));
  lane.called(call(0, "slow"), 0, at(1));
  auto* words = reinterpret_cast<flight::Word*>(held.region.bytes().data());
  auto& version = words[flight::kRecordsAt];
  version.store(version.load() - 1);  // as if its thread had not come to the end yet
  for (uint64_t i = 1; i <= kFlightRecords; ++i) lane.called(call(i, "fast"), i, at(2)).finished(at(3));
  Flight flight = held.read();
  EXPECT_EQ(flight.torn, 1u);
  EXPECT_EQ(flight.records.size(), kFlightRecords - 1);
  EXPECT_EQ(flight.groups[0].called, kFlightRecords + 1);
  EXPECT_EQ(flight.groups[0].finished, kFlightRecords);

  version.store(version.load() + 1);
  flight = held.read();
  EXPECT_EQ(flight.torn, 0u);
  EXPECT_EQ(flight.records.front().tag, "slow");
  EXPECT_EQ(flight.records.front().sequence, 0u);
}

TEST(Flight, LeavesOutARecordThatWasNeverCompleted) {
  Held held = hold();
  FlightLane lane = held.recorder->lane({.id = 1, .name = "world"}, at(1));
  for (uint64_t i = 0; i < 3; ++i) lane.called(call(i, ""), i, at(static_cast<int64_t>(i + 1)));
  auto* words = reinterpret_cast<flight::Word*>(held.region.bytes().data());
  auto& version = words[flight::kRecordsAt + 1 * flight::kRecordWords];
  version.store(version.load() - 1);  // as if the process had died there
  for (const auto& bytes :
       {std::vector(held.region.bytes().begin(), held.region.bytes().end()), take_flight(held.region.bytes(), at(9))}) {
    const auto flight = read_flight(bytes);
    ASSERT_TRUE(flight.ok());
    EXPECT_EQ(flight->torn, 1);
    ASSERT_EQ(flight->records.size(), 2u);
    EXPECT_EQ(flight->records[0].sequence, 0u);
    EXPECT_EQ(flight->records[1].sequence, 2u);
  }
}

TEST(Flight, RefusesBytesThatAreNone) {
  std::vector<std::byte> bytes(kFlightBytes);
  EXPECT_EQ(read_flight(bytes).status().code(), Code::kCorrupt);
  EXPECT_TRUE(take_flight(bytes, at(1)).empty());
  EXPECT_EQ(read_flight(std::span(bytes).first(100)).status().code(), Code::kCorrupt);
  Held held = hold();
  auto taken = take_flight(held.region.bytes(), at(1));
  taken[8] = std::byte{3};  // another layout
  EXPECT_THAT(read_flight(taken).status().message(), HasSubstr("has layout 3, this build of Rondo reads layout 2"));
}

TEST(Flight, AnyBytesAreReadWithoutHarm) {
  Held held = hold();
  FlightLane lane = held.recorder->lane({.id = 1, .name = "world"}, at(1));
  for (uint64_t i = 0; i < 2000; ++i) lane.called(call(i, "tag"), i, at(static_cast<int64_t>(i)));
  const auto good = take_flight(held.region.bytes(), at(1));
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    auto bytes = good;
    uint32_t random = seed;
    for (int flips = 0; flips < 400; ++flips) {
      random = random * 1'664'525 + 1'013'904'223;
      bytes[16 + random % (bytes.size() - 16)] = static_cast<std::byte>(random >> 24);
    }
    const auto flight = read_flight(bytes);
    ASSERT_TRUE(flight.ok());
    EXPECT_LE(flight->records.size(), kFlightRecords);
    for (const FlightRecord& record : flight->records) EXPECT_FALSE(record.describe().empty());
  }
}

TEST(Flight, OutlivesAProcessThatIsKilled) {
  auto region = Region::allocate(kFlightBytes, "a test's flight recorder");
  RONDO_ASSERT_OK(region);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const int child = ::fork();
  if (child == 0) {
    auto recorder =
        open_flight_recorder({.at = {.rank = 1, .world_size = 2}, .descriptor = ::dup(region->descriptor())});
    if (!recorder.ok()) ::_exit(1);
    FlightLane lane = (*recorder)->lane({.id = 5, .name = "world"}, at(1));
    const FlightNote note = lane.called(call(3, "bucket 3"), 41, at(100));
    note.started(at(200));
    note.blocked({.hop = 1, .hop_count = 2, .peer = 0});
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    while (true) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  const auto flight = read_flight(region->bytes());
  RONDO_ASSERT_OK(flight);
  EXPECT_EQ(flight->pid, child);
  ASSERT_EQ(flight->records.size(), 1u);
  EXPECT_EQ(flight->records[0].sequence, 41u);
  EXPECT_EQ(flight->records[0].state, FlightState::kStarted);
  EXPECT_EQ(flight->records[0].peer, 0);
}

/// Runs `body` in a process of its own whose recorder writes stacks into `memory`.
template <typename Body>
pid_t fork_with_stacks(const Region& memory, Body body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const auto recorder = open_flight_recorder({.at = {.rank = 1, .world_size = 2},
                                              .descriptor = ::dup(memory.descriptor()),
                                              .stacks = FlightOptions::Stacks::kOn});
  if (recorder.ok()) body();
  ::_exit(1);
}

TEST(Flight, HoldsWhereItsProcessWasWhenItCrashed) {
  auto region = Region::allocate(kFlightBytes, "a test's flight recorder");
  RONDO_ASSERT_OK(region);
  const pid_t child = fork_with_stacks(*region, [] { std::abort(); });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << "the handler changes nothing about the end";
  for (const auto& bytes :
       {std::vector(region->bytes().begin(), region->bytes().end()), take_flight(region->bytes(), at(9))}) {
    const auto flight = read_flight(bytes);
    RONDO_ASSERT_OK(flight);
    ASSERT_TRUE(flight->stacks);
    EXPECT_EQ(flight->stacks->signal, SIGABRT);
    EXPECT_EQ(flight->stacks->text.find("thread " + std::to_string(child) + " "), 0u) << flight->stacks->text;
    EXPECT_THAT(flight->stacks->text, HasSubstr("libc.so"));
    EXPECT_THAT(flight->stacks->text, HasSubstr("/comm_flight_test+0x"));
  }
}

TEST(Flight, HoldsWhereThreadsAreWhenAskedAndTheyGoOn) {
  auto region = Region::allocate(kFlightBytes, "a test's flight recorder");
  RONDO_ASSERT_OK(region);
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = fork_with_stacks(*region, [&] {
    std::thread beside([&] {
      ::pthread_setname_np(::pthread_self(), "beside");
      if (::write(ready[1], "x", 1) != 1) ::_exit(2);
      while (true) ::pause();
    });
    while (true) ::pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  for (uint64_t asked = 1; asked <= 2; ++asked) {
    ::kill(child, SIGUSR2);
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    Flight flight;
    const auto answered = [&] {
      if (auto now = read_flight(region->bytes()); now.ok()) flight = *std::move(now);
      return flight.stacks && flight.stacks->answers == 2 * asked;
    };
    while (!answered() && Clock::now() < deadline) std::this_thread::yield();
    ASSERT_TRUE(flight.stacks);
    EXPECT_EQ(flight.stacks->answers, 2 * asked);
    EXPECT_THAT(flight.stacks->text, HasSubstr(" beside\n"));
    EXPECT_THAT(flight.stacks->text, HasSubstr("thread " + std::to_string(child) + " "));
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "it went on until now";
  ::close(ready[0]);
  ::close(ready[1]);
}

class FlightFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "rondo-flight-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::vector<std::byte> file(const std::string& name) const {
    std::ifstream stream(folder_ / "flight" / name, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(stream)), {});
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
  }
  fs::path folder_;
};

TEST_F(FlightFile, IsWrittenInTheRunsFolderAndStaysWhenTheRankIsGone) {
  const size_t before = test::open_descriptors();
  {
    auto recorder = open_flight_recorder({.at = {.rank = 12, .world_size = 20}, .run_directory = folder_});
    RONDO_ASSERT_OK(recorder);
    (*recorder)->lane({.id = 1, .name = "world"}, at(1)).called(call(2, "t"), 7, at(5));
    const auto live = read_flight(file("rank-0012.bin"));
    RONDO_ASSERT_OK(live);
    EXPECT_EQ(live->records.size(), 1u);
  }
  const auto flight = read_flight(file("rank-0012.bin"));
  RONDO_ASSERT_OK(flight);
  EXPECT_EQ(flight->at.rank, 12);
  EXPECT_EQ(flight->records.at(0).sequence, 7u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "flight"), {}), 1) << "one file, and nothing half-written";
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST_F(FlightFile, OfAnotherProcessIsReplacedAndNotCutUnderIt) {
  auto first = open_flight_recorder({.at = {.rank = 0, .world_size = 1}, .run_directory = folder_});
  RONDO_ASSERT_OK(first);
  FlightLane lane = (*first)->lane({.id = 1, .name = "first"}, at(1));
  auto second = open_flight_recorder({.at = {.rank = 0, .world_size = 1}, .run_directory = folder_});
  RONDO_ASSERT_OK(second);
  for (uint64_t i = 0; i < 2000; ++i) lane.called(call(i, ""), i, at(1));  // a bus error, had the file been cut
  EXPECT_TRUE(read_flight(file("rank-0000.bin"))->records.empty());
}

TEST_F(FlightFile, ThatCannotBeWrittenIsAnErrorWithItsPath) {
  const auto recorder = open_flight_recorder({.run_directory = folder_ / "not-there"});
  EXPECT_EQ(recorder.status().code(), Code::kIo);
  EXPECT_THAT(recorder.status().message(), HasSubstr("not-there/flight"));
}

TEST(FlightMemory, OfTheWrongSizeIsRefusedAndWithoutAPlaceIsAnonymous) {
  auto small = Region::allocate(4096, "too small");
  RONDO_ASSERT_OK(small);
  EXPECT_EQ(open_flight_recorder({.descriptor = ::dup(small->descriptor())}).status().code(), Code::kMismatch);
  const auto recorder = open_flight_recorder({});
  RONDO_ASSERT_OK(recorder);
  EXPECT_TRUE(read_flight((*recorder)->bytes()).ok());
}

/// Prints what a recorded collective costs; the check is that all of them are there.
TEST(FlightCost, IsPrintedPerCollective) {
  constexpr int kRounds = 20, kCalls = 50'000;
  Held held = hold();
  FlightLane lane = held.recorder->lane({.id = 1, .name = "world"}, at(1));
  const std::string tag = "bucket 12 \"layer3.conv2.weight\" .. \"layer3.conv1.bias\"";
  const FlightName ring("ring");
  for (const std::string_view with : {std::string_view(), std::string_view(tag)}) {
    std::vector<double> nanoseconds;
    for (int round = 0; round < kRounds; ++round) {
      const TimePoint begin = Clock::now();
      for (int i = 0; i < kCalls; ++i) {
        const FlightNote note = lane.called({.element_count = i, .algorithm = ring, .tag = with}, 0, begin);
        note.started(begin);
        note.finished(begin);
      }
      nanoseconds.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / kCalls);
    }
    std::sort(nanoseconds.begin(), nanoseconds.end());
    std::printf("{\"flight_ns_per_collective\":{\"tag_bytes\":%zu,\"min\":%.1f,\"p50\":%.1f,\"max\":%.1f}}\n",
                with.size(), nanoseconds.front(), nanoseconds[kRounds / 2], nanoseconds.back());
  }
  EXPECT_EQ(held.read().groups.at(0).finished, 2u * kRounds * kCalls);
}

}  // namespace
}  // namespace rondo::comm
