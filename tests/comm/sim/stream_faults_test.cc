#include <gtest/gtest.h>

#include <algorithm>

#include <array>
#include <cerrno>
#include <numeric>
#include <utility>
#include <vector>

#include "comm/sim/sim_env.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

constexpr size_t kBlock = 64;

/// A stream from rank 0 (dialer) to rank 1, in a world without any other mishap.
struct Line {
  explicit Line(FaultPlan plan, int dialer_rank = 0) : injector(std::make_shared<Injector>(std::move(plan))) {
    world = SimWorld::make({.would_block_percent = 0, .injector = injector});
    listener = *world->env("b", 1)->listen({"sim:b"});
    dialer_env = world->env("a", dialer_rank);
    dialer = *dialer_env->dial({"sim:b"});
    acceptor = listener->accept();
  }
  /// Writes until all is out or the stream would not go on for `patience` calls; how many bytes each call took.
  std::vector<size_t> write(std::span<const std::byte> bytes, int patience = 0) {
    std::vector<size_t> moved;
    for (size_t at = 0; at < bytes.size();) {
      last = dialer->write(bytes.subspan(at), {});
      if (last.state != IoResult::State::kDone && patience-- == 0) break;
      moved.push_back(last.bytes);
      at += last.bytes;
    }
    return moved;
  }
  std::vector<std::byte> read_all() {
    std::vector<std::byte> all;
    std::array<std::byte, 4096> into;
    for (;;) {
      last_read = acceptor->read(into);
      if (last_read.state != IoResult::State::kDone) return all;
      all.insert(all.end(), into.begin(), into.begin() + static_cast<std::ptrdiff_t>(last_read.bytes));
    }
  }

  std::shared_ptr<Injector> injector;
  std::shared_ptr<SimWorld> world;
  std::shared_ptr<Env> dialer_env;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> dialer, acceptor;
  IoResult last, last_read;
};

FaultPlan once(FaultKind kind, uint64_t block, Act act = Act::kWrite) {
  FaultPlan plan;
  plan.planned.push_back({.kind = kind, .rank = act == Act::kRead ? 1 : 0, .act = act, .nth = block, .sequence = 0});
  return plan;
}

std::vector<std::byte> numbered(size_t byte_count) {
  std::vector<std::byte> bytes(byte_count);
  for (size_t i = 0; i < byte_count; ++i) bytes[i] = static_cast<std::byte>(i * 131 + i / 256);
  return bytes;
}

size_t sum(const std::vector<size_t>& moved) { return std::accumulate(moved.begin(), moved.end(), size_t{0}); }

TEST(StreamFaults, AFlipChangesOneByteOfItsBlockAndNoOther) {
  const auto sent = numbered(10 * kBlock);
  for (uint64_t block = 0; block < 10; ++block) {
    Line line(once(FaultKind::kFlip, block));
    (void)line.write(sent);
    const auto got = line.read_all();
    ASSERT_EQ(got.size(), sent.size());
    std::vector<size_t> changed;
    for (size_t i = 0; i < sent.size(); ++i) {
      if (got[i] != sent[i]) changed.push_back(i);
    }
    ASSERT_EQ(changed.size(), 1u);
    EXPECT_EQ(changed[0] / kBlock, block);
  }
}

TEST(StreamFaults, ADropResetsBothEndsWithAllThatWasUnderWay) {
  Line line(once(FaultKind::kDrop, 3));
  const auto sent = numbered(10 * kBlock);
  EXPECT_EQ(sum(line.write(sent)), 3 * kBlock);
  EXPECT_EQ(line.last.error, ECONNRESET);
  EXPECT_TRUE(line.read_all().empty());
  EXPECT_EQ(line.last_read.error, ECONNRESET);
  EXPECT_EQ(line.acceptor->write(sent, {}).error, ECONNRESET);
}

TEST(StreamFaults, AMutedStreamSwallowsWhatFollowsAndTellsNobody) {
  Line line(once(FaultKind::kMute, 2));
  const auto sent = numbered(10 * kBlock);
  (void)line.write(sent);
  EXPECT_EQ(line.last.state, IoResult::State::kDone);
  EXPECT_EQ(line.read_all().size(), 2 * kBlock);
  EXPECT_EQ(line.last_read.state, IoResult::State::kWouldBlock);
  EXPECT_EQ(line.acceptor->write(sent, {}).state, IoResult::State::kDone);  // the other direction works
}

TEST(StreamFaults, AShortStormMovesSingleBytesForAWhile) {
  for (const Act act : {Act::kWrite, Act::kRead}) {
    Line line(once(FaultKind::kShort, 1, act));
    const auto sent = numbered(10 * kBlock);
    const auto written = line.write(sent);
    EXPECT_EQ(line.read_all(), sent);
    const auto single = std::count(written.begin(), written.end(), 1u);
    if (act == Act::kWrite) {
      EXPECT_GE(single, 1);
    }
    EXPECT_EQ(line.injector->counts()[static_cast<size_t>(FaultKind::kShort)], 1u);
  }
}

TEST(StreamFaults, ACallThatWouldBlockGoesOnWhenTheStormIsOver) {
  Line line(once(FaultKind::kAgain, 4));
  const auto sent = numbered(10 * kBlock);
  const auto moved = line.write(sent, line.injector->plan().storm_most);
  EXPECT_GE(std::count(moved.begin(), moved.end(), 0u), 1);
  EXPECT_EQ(line.read_all(), sent);
}

TEST(StreamFaults, DelayedBytesComeLaterAndInOrder) {
  Line line(once(FaultKind::kDelay, 2));
  const auto sent = numbered(10 * kBlock);
  (void)line.write(sent);
  EXPECT_EQ(line.read_all().size(), 2 * kBlock);
  line.world->advance(line.injector->plan().delay_most);
  const auto rest = line.read_all();
  EXPECT_EQ(rest, std::vector(sent.begin() + 2 * kBlock, sent.end()));
}

TEST(StreamFaults, ARefusedDialIsAnsweredAtTheNextAttempt) {
  FaultPlan plan;
  plan.planned.push_back({.kind = FaultKind::kRefuse, .rank = 0, .peer = 1, .act = Act::kDial, .nth = 1});
  Line line(plan);  // attempt 0 was answered
  std::array<std::byte, 1> into{};
  EXPECT_EQ((*line.dialer_env->dial({"sim:b"}))->read(into).error, ECONNREFUSED);
  EXPECT_EQ((*line.dialer_env->dial({"sim:b"}))->read(into).state, IoResult::State::kWouldBlock);
}

TEST(StreamFaults, ARankIsKilledInTheMiddleOfAWrite) {
  Line line(once(FaultKind::kKill, 5));
  std::vector<int> killed;
  line.injector->on_kill([&](int rank) { killed.push_back(rank); });
  EXPECT_EQ(sum(line.write(numbered(10 * kBlock))), 5 * kBlock);
  EXPECT_EQ(killed, std::vector<int>{0});
  EXPECT_TRUE(line.read_all().empty());
  EXPECT_EQ(line.last_read.error, ECONNRESET);
}

TEST(StreamFaults, StrangersAreLeftAlone) {
  FaultPlan plan;
  for (int& rate : plan.rates) rate = 10'000;
  Line line(plan, -1);
  const auto sent = numbered(1000);
  (void)line.write(sent);
  EXPECT_EQ(line.read_all(), sent);
  EXPECT_TRUE(line.injector->strikes_so_far().empty());
}

}  // namespace
}  // namespace rondo::comm
