#include "comm/sim/faulty_transport.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "comm/transport/inproc.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

/// Ranks 0 and 1 of a group, over inproc; both see the same injector. Time moves by hand.
struct Line {
  explicit Line(FaultPlan plan) : injector(std::make_shared<Injector>(std::move(plan))) {
    auto fabric = *InprocFabric::create(2);
    for (int rank = 0; rank < 2; ++rank) {
      ends.push_back(make_faulty_transport(make_inproc_transport({fabric, 5, {0, 1}, rank}),
                                           {.injector = injector, .group = 5, .job_ranks = {0, 1}, .rank = rank}));
    }
    pass(0ms);
  }
  void pass(Duration time) {
    now += time;
    for (auto& end : ends) EXPECT_TRUE(end->progress(now).ok());
  }
  /// Message `n` carries its number as payload.
  void send(int number) {
    payloads.push_back(std::make_unique<std::vector<std::byte>>(16, static_cast<std::byte>(number)));
    const auto ticket = ends[0]->send(
        1, {.sequence = static_cast<uint64_t>(number), .hop = static_cast<uint32_t>(number) + 1}, *payloads.back());
    ASSERT_TRUE(ticket.ok());
    EXPECT_EQ(*ticket, payloads.size());
  }
  /// The number of the next message; -1 while there is none; -2 when its payload is not what was sent.
  int receive() {
    std::vector<std::byte> into(16);
    const auto got = ends[1]->receive(0, into);
    EXPECT_TRUE(got.ok()) << got.status().text();
    if (!got.ok() || !got->has_value()) return -1;
    const auto number = static_cast<int>((*got)->sequence);
    const bool whole = into == std::vector<std::byte>(16, static_cast<std::byte>(number));
    return whole && (*got)->hop == static_cast<uint32_t>(number) + 1 ? number : -2;
  }

  std::shared_ptr<Injector> injector;
  std::vector<std::unique_ptr<Transport>> ends;
  std::vector<std::unique_ptr<std::vector<std::byte>>> payloads;
  TimePoint now{1h};
};

FaultPlan once(FaultKind kind, uint64_t nth, Act act = Act::kSend, int rank = 0) {
  FaultPlan plan;
  plan.planned.push_back({.kind = kind, .rank = rank, .act = act, .nth = nth});
  return plan;
}

TEST(FaultyTransport, WithoutFaultsEverythingPassesAtOnce) {
  Line line(FaultPlan{});
  for (int i = 0; i < 3; ++i) line.send(i);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(line.receive(), i);
  EXPECT_EQ(line.ends[0]->sends_done(1), 3u);
  EXPECT_TRUE(line.ends[0]->goodbye(line.now).ok());
  std::vector<std::byte> into(16);
  EXPECT_EQ(line.ends[1]->receive(0, into).status().code(), Code::kClosed);
}

TEST(FaultyTransport, ADelayedMessageComesLaterAndInOrder) {
  Line line(once(FaultKind::kDelay, 1));
  for (int i = 0; i < 3; ++i) line.send(i);
  EXPECT_EQ(line.receive(), 0);
  EXPECT_EQ(line.receive(), -1);
  EXPECT_EQ(line.ends[0]->sends_done(1), 1u);
  EXPECT_TRUE(line.ends[0]->goodbye(line.now).is_pending());  // what was sent goes first
  line.pass(line.injector->plan().delay_most);
  EXPECT_EQ(line.receive(), 1);
  EXPECT_EQ(line.receive(), 2);
  EXPECT_EQ(line.ends[0]->sends_done(1), 3u);
}

TEST(FaultyTransport, AMessageThatDoesNotMoveForSomeCallsMovesThen) {
  for (const auto& [act, rank] : {std::pair(Act::kSend, 0), std::pair(Act::kReceive, 1)}) {
    Line line(once(FaultKind::kAgain, 0, act, rank));
    line.send(0);
    EXPECT_EQ(line.receive(), -1);
    int calls = 1;
    for (; calls <= line.injector->plan().storm_most; ++calls) {
      line.pass(0ms);
      if (line.receive() == 0) break;
    }
    EXPECT_LE(calls, line.injector->plan().storm_most);
  }
}

TEST(FaultyTransport, AStalledRankMovesNothingUntilItsTimeIsOver) {
  Line line(once(FaultKind::kStall, 0));
  line.send(0);
  EXPECT_TRUE(line.ends[1]->send(0, {.sequence = 9}, {}).ok());
  EXPECT_EQ(line.receive(), -1);
  EXPECT_FALSE((*line.ends[0]->receive(1, {})).has_value());
  line.pass(line.injector->plan().delay_most);
  EXPECT_EQ(line.receive(), 0);
  EXPECT_EQ((*line.ends[0]->receive(1, {}))->sequence, 9u);
}

TEST(FaultyTransport, ASignalMayComeLateAndKeepsItsPlaceBetweenMessages) {
  Line line(once(FaultKind::kDelay, 0, Act::kSignal));
  ASSERT_TRUE(line.ends[0]->signal(1, 7, 2.5).ok());
  line.send(0);
  EXPECT_EQ((*line.ends[1]->signal_from(0)).value, 0u);
  EXPECT_EQ(line.receive(), -1);
  line.pass(line.injector->plan().delay_most);
  EXPECT_EQ((*line.ends[1]->signal_from(0)).value, 7u);
  EXPECT_EQ((*line.ends[1]->signal_from(0)).weight, 2.5);
  EXPECT_EQ(line.receive(), 0);
}

TEST(FaultyTransport, AKilledRankSaysNothingNotEvenGoodbye) {
  for (const Act act : {Act::kSend, Act::kReceive}) {
    Line line(once(FaultKind::kKill, 1, act));
    std::vector<int> killed;
    line.injector->on_kill([&](int rank) { killed.push_back(rank); });
    line.send(0);
    EXPECT_EQ(line.receive(), 0);
    ASSERT_TRUE(line.ends[1]->send(0, {}, {}).ok());
    ASSERT_TRUE(line.ends[1]->send(0, {}, {}).ok());
    if (act == Act::kReceive) {
      EXPECT_TRUE((*line.ends[0]->receive(1, {})).has_value());
      EXPECT_FALSE((*line.ends[0]->receive(1, {})).has_value());
    }
    line.send(1);
    line.pass(10s);
    EXPECT_EQ(killed, std::vector<int>{0});
    EXPECT_EQ(line.receive(), -1);
    EXPECT_TRUE(line.ends[0]->goodbye(line.now).ok());
    EXPECT_EQ(line.receive(), -1);  // an error if it had left
  }
}

TEST(FaultyTransport, ALostMessageCountsAsArrivedAndNeverComes) {
  Line line(once(FaultKind::kLose, 1));
  for (int i = 0; i < 3; ++i) line.send(i);
  EXPECT_EQ(line.receive(), 0);
  EXPECT_EQ(line.ends[0]->sends_done(1), 2u);
  EXPECT_EQ(line.receive(), 2);
  line.pass(10s);
  EXPECT_EQ(line.receive(), -1);
  EXPECT_EQ(line.ends[0]->sends_done(1), 3u);
}

TEST(FaultyTransport, ARepeatedMessageComesTwice) {
  Line line(once(FaultKind::kRepeat, 1));
  for (int i = 0; i < 3; ++i) line.send(i);
  for (const int expected : {0, 1, 1, 2, -1}) EXPECT_EQ(line.receive(), expected);
  EXPECT_EQ(line.ends[0]->sends_done(1), 3u);
}

TEST(FaultyTransport, AFlipAboveTheChecksumsReachesTheReceiver) {
  Line line(once(FaultKind::kFlipAbove, 1, Act::kReceive, 1));
  for (int i = 0; i < 3; ++i) line.send(i);
  for (const int expected : {0, -2, 2}) EXPECT_EQ(line.receive(), expected);
}

}  // namespace
}  // namespace rondo::comm
