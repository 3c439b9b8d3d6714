#include "comm/bench/room.h"

#include <gmock/gmock.h>

#include "comm/bench/copy_rate.h"
#include "comm/bench/flag_latency.h"
#include "tests/comm/bench/ranks_in_a_room.h"

namespace rondo::bench {
namespace {

int shared_cpu(int) { return 0; }
int own_cpu(int rank) { return rank; }

// Waiters of these tests yield: more threads than cores would spin against each other.
TEST(Room, NobodyLeavesTheGateBeforeTheLastArrives) {
  for (const Waiting waiting : {Waiting::kSpins, Waiting::kBlocks}) {
    for (const int n : {1, 2, 5}) {
      std::atomic<int> arrived = 0;
      in_a_room(n, waiting, shared_cpu, [&](Room& room) {
        for (int turn = 1; turn <= 200; ++turn) {
          ++arrived;
          ASSERT_TRUE(room.gate(comm::in_seconds(20)).ok());
          ASSERT_GE(arrived.load(), turn * n);
        }
      });
    }
  }
}

TEST(Room, GateNamesTheRankThatNeverCame) {
  for (const Waiting waiting : {Waiting::kSpins, Waiting::kBlocks}) {
    in_a_room(3, waiting, shared_cpu, [&](Room& room) {
      if (room.at().rank == 1) return;
      const auto status = room.gate(comm::in_seconds(0.05));
      EXPECT_EQ(status.code(), comm::Code::kTimeout);
      EXPECT_EQ(status.where().peer, 1);
      EXPECT_THAT(status.text(), testing::HasSubstr("rank 1 has not come"));
    });
  }
}

TEST(Room, TellsOwnCoresFromSharedOnes) {
  in_a_room(3, Waiting::kBlocks, shared_cpu, [](Room& room) { EXPECT_EQ(room.cores(), Cores::kShared); });
  in_a_room(3, Waiting::kBlocks, own_cpu, [](Room& room) { EXPECT_EQ(room.cores(), Cores::kOwn); });
}

TEST(Room, ACallCountsWithItsSlowestRank) {
  in_a_room(3, Waiting::kBlocks, shared_cpu, [](Room& room) {
    // Call i is slow on rank i.
    for (int call = 0; call < 3; ++call) room.put_sample(call, call == room.at().rank ? 100 + call : 1);
    ASSERT_TRUE(room.gate(comm::in_seconds(20)).ok());
    EXPECT_THAT(room.slowest(3), testing::ElementsAre(100, 101, 102));
    ASSERT_TRUE(room.gate(comm::in_seconds(20)).ok());
  });
}

TEST(Room, AddsUpTheWrongElementsOfAllRanksOnce) {
  in_a_room(4, Waiting::kBlocks, shared_cpu, [](Room& room) {
    room.add_wrong(room.at().rank);
    ASSERT_TRUE(room.gate(comm::in_seconds(20)).ok());
    if (room.at().rank != 0) return;
    EXPECT_EQ(room.take_wrong(), 0 + 1 + 2 + 3);
    EXPECT_EQ(room.take_wrong(), 0);
  });
}

TEST(Room, KnowsWhoHasNotEnteredABarrier) {
  in_a_room(3, Waiting::kBlocks, shared_cpu, [](Room& room) {
    if (room.at().rank < 2) room.say_entered(7);
    ASSERT_TRUE(room.gate(comm::in_seconds(20)).ok());
    EXPECT_EQ(room.count_absent(7), 1);
    EXPECT_EQ(room.count_absent(8), 3);
  });
}

TEST(Room, IsRefusedToWhoMeasuresSomethingElse) {
  const auto room = Room::make({.at = {.rank = 0, .world_size = 2}, .sample_capacity = 10});
  ASSERT_TRUE(room.ok());
  const auto other = Room::enter({.at = {.rank = 1, .world_size = 2}, .sample_capacity = 11}, room->ticket());
  EXPECT_EQ(other.status().code(), comm::Code::kMismatch);
  EXPECT_EQ(other.status().where().rank, 1);
  Ticket elsewhere = room->ticket();
  elsewhere.descriptor = 999'999;
  const auto lost = Room::enter({.at = {.rank = 1, .world_size = 2}, .sample_capacity = 10}, elsewhere);
  EXPECT_EQ(lost.status().code(), comm::Code::kIo);
  EXPECT_THAT(lost.status().message(), testing::HasSubstr("on one host"));
}

TEST(FlagLatency, IsMeasuredBetweenTheFirstTwoOfRanksWithOwnCores) {
  // The threads are not bound, so that this machine may have one core only: all that is checked is who measures.
  in_a_room(2, Waiting::kBlocks, own_cpu, [](Room& room) {
    const auto latency = flag_latency(room, comm::in_seconds(60));
    ASSERT_TRUE(latency.ok()) << latency.status().text();
    ASSERT_TRUE(latency->has_value());
    EXPECT_GT(**latency, 0);
  });
  in_a_room(2, Waiting::kBlocks, shared_cpu, [](Room& room) {
    const auto latency = flag_latency(room, comm::in_seconds(60));
    ASSERT_TRUE(latency.ok());
    EXPECT_FALSE(latency->has_value());
  });
}

TEST(CopyRate, IsPositiveAndCopiesNothingForNothing) {
  in_a_room(2, Waiting::kBlocks, shared_cpu, [](Room& room) {
    std::vector<std::byte> buffer(64 * 1024, std::byte{7});
    const auto time = copy_time(room, buffer, comm::in_seconds(20));
    ASSERT_TRUE(time.ok()) << time.status().text();
    if (room.at().rank == 0) {
      EXPECT_GT(*time, 0);
    }
    EXPECT_EQ(*copy_time(room, std::span(buffer).first(1), comm::in_seconds(20)), 0);
  });
}

}  // namespace
}  // namespace rondo::bench
