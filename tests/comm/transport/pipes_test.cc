#include "comm/transport/pipes.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <thread>

#include "comm/transport/inproc.h"
#include "rondo/comm/deadline.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

/// Distinct for every message and index.
std::vector<std::byte> pattern(size_t message, size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i * 7 + i / 251 + message * 13);
  return data;
}

/// Ranks 1 and 2 of three are neighbours; rank 0 is on another host. Threads over one mapping.
class Neighbours : public testing::Test {
 protected:
  Neighbours() : fabric_(*InprocFabric::create(3)) {
    for (const int rank : {1, 2}) {
      auto made = Pipes::open({.page = fabric_->page(),
                               .post = region_post_of(fabric_, rank),
                               .group = 7,
                               .job_ranks = {0, 1, 2},
                               .mailboxes = {"", "", ""},
                               .neighbours = {1, 2},
                               .rank = rank});
      EXPECT_TRUE(made.ok()) << made.status().text();
      pipes_[static_cast<size_t>(rank - 1)] = *std::move(made);
    }
  }
  Pipes& of(int rank) { return *pipes_[static_cast<size_t>(rank - 1)]; }

  Result<std::optional<MessageHeader>> receive(int rank, int from, std::span<std::byte> into) {
    const Deadline deadline = after(10s);
    for (;;) {
      const auto moved = of(rank).progress();
      RONDO_TRY(moved);
      auto got = of(rank).receive(from, into);
      if (!got.ok() || got->has_value()) return got;
      if (deadline.passed(Clock::now())) return Status(Code::kTimeout, "nothing came");
      std::this_thread::yield();
    }
  }

  const std::shared_ptr<InprocFabric> fabric_;
  std::array<std::unique_ptr<Pipes>, 2> pipes_;
};

TEST_F(Neighbours, ReachEachOtherAndNobodyElse) {
  EXPECT_TRUE(of(1).reaches(2));
  EXPECT_FALSE(of(1).reaches(1));
  EXPECT_FALSE(of(1).reaches(0));
}

// Both directions at once, of lengths from none to more than the ring holds, each message with a header of its own.
TEST_F(Neighbours, MessagesOfEveryLengthArriveWholeInOrderAndBothWays) {
  const std::vector<size_t> lengths{
      0, 1, 39, 40, 41, 4096, Pipes::kRingBytes - 1, Pipes::kRingBytes, 3 * Pipes::kRingBytes + 5};
  const auto run = [&](int rank, int peer) {
    std::vector<std::vector<std::byte>> sent;
    for (size_t i = 0; i < lengths.size(); ++i) sent.push_back(pattern(i + static_cast<size_t>(rank), lengths[i]));
    SendTicket last = 0;
    for (size_t i = 0; i < lengths.size(); ++i)
      last = of(rank).send(peer, {.sequence = i, .segment = 3, .hop = 2, .weight = rank + 0.5}, sent[i]);
    EXPECT_EQ(last, lengths.size());
    for (size_t i = 0; i < lengths.size(); ++i) {
      std::vector<std::byte> got(lengths[i]);
      const auto header = receive(rank, peer, got);
      ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
      EXPECT_EQ((*header)->sequence, i);
      EXPECT_EQ((*header)->segment, 3u);
      EXPECT_EQ((*header)->hop, 2u);
      EXPECT_EQ((*header)->weight, peer + 0.5);
      EXPECT_EQ(got, pattern(i + static_cast<size_t>(peer), lengths[i])) << "message " << i;
    }
    const Deadline deadline = after(10s);
    while (of(rank).sends_done(peer) < last && !deadline.passed(Clock::now())) ASSERT_TRUE(of(rank).progress().ok());
    EXPECT_EQ(of(rank).sends_done(peer), last);
    EXPECT_EQ(of(rank).sends_released(peer), last);
  };
  std::thread other(run, 2, 1);
  run(1, 2);
  other.join();
}

TEST_F(Neighbours, APayloadOfAnotherLengthIsAMismatchThatNamesThePeer) {
  const auto data = pattern(0, 10);
  of(1).send(2, {}, data);
  ASSERT_TRUE(of(1).progress().ok());
  std::vector<std::byte> into(11);
  const Status status = receive(2, 1, into).status();
  EXPECT_EQ(status.code(), Code::kMismatch);
  EXPECT_EQ(status.where().peer, 1);
}

TEST_F(Neighbours, WhoLeftInOrderIsClosedBehindItsLastMessage) {
  const auto data = pattern(0, 10);
  of(1).send(2, {}, data);
  ASSERT_TRUE(of(1).progress().ok());
  EXPECT_TRUE(of(1).goodbye().ok());
  std::vector<std::byte> into(10);
  EXPECT_TRUE(receive(2, 1, into).ok());
  const Status status = receive(2, 1, into).status();
  EXPECT_EQ(status.code(), Code::kClosed);
  EXPECT_EQ(status.where().peer, 1);
}

TEST_F(Neighbours, GoodbyeWaitsForWhatIsNotWrittenYet) {
  const auto data = pattern(0, 2 * Pipes::kRingBytes);
  of(1).send(2, {}, data);
  EXPECT_TRUE(of(1).goodbye().is_pending());
  EXPECT_LT(of(1).sends_released(2), 1u) << "it still borrows the payload";
}

}  // namespace
}  // namespace rondo::comm
